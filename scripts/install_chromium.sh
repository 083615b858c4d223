#!/bin/sh
# What the browser tests drive: Chromium and its driver, from Debian's packages unless they are there already.
set -eu

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi

give_up() {
    echo "The browser tests need the programs chromium and chromedriver, and $1." >&2
    echo "Install them, on Debian as root: apt-get install chromium chromium-driver" >&2
    exit 1
}

command -v apt-get >/dev/null || give_up "this is no Debian, whose packages could be installed here"
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    give_up "to install them takes root, or sudo without a password"
fi
$as_root apt-get update --quiet --quiet
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet --quiet --yes --no-install-recommends chromium chromium-driver >/dev/null
