"""The grammar of names: model versions, aliases, ids and weight URIs.

Checked before anything is sent. Every function here is pure; its error names the argument and the rule.
Rules: the "Management API" pages of the Cerebras documentation (aliases, version names) and S3's URI form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_MODEL_VERSION = re.compile(r"orgs/([^/]+)/models/([^/]+)/versions/([^/]+)")
_MAX_LENGTH = 1024
_MAX_SHOWN = 200
# Buckets made before 2018 may have capitals and up to 255 characters.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{1,253}[A-Za-z0-9]")
_MAX_KEY = 1024
# Spark's and Hadoop's names for S3, and the id of an Airflow connection, as ObjectStoragePath has it, mean no other
# place. What has a colon is no id but a key and a secret.
_SCHEME = re.compile(r"s3[an]?://(?:[\w!().-]+@(?=[^/@]*(?:/|$)))?")
_CREDENTIALS = re.compile(r"//[^/@]*@")


class InvalidValue(ValueError, TypeError):
    """A name, an alias, an id, a URI or a list of them that the service could never take. Nothing was sent."""


def is_alias(text: str) -> bool:
    """Return whether a string is a well-formed alias: 2 to 128 characters that are never read as a number.

    :param text: the text.
    """
    return _ALIAS.fullmatch(text) is not None


def validate_alias(alias: object, argument: str = "version_aliases") -> str:
    """Return ``alias`` if it is well-formed.

    :param alias: the alias as given by the user.
    :param argument: the name of the argument that it came in, for the message.
    :raises InvalidValue: if it does not match the documented pattern.
    """
    if not isinstance(alias, str) or not is_alias(alias):
        raise InvalidValue(
            f"{argument}: {shown(alias)} is not an alias. An alias has 2 to 128 characters, begins with a lower-case "
            "letter, ends with a lower-case letter or a digit, and has letters, digits and hyphens in between."
        )
    return alias


def validate_identifier(value: object, argument: str) -> str:
    """Return the id of an organization, an architecture or an endpoint if it can stand in a path.

    What the service allows is not documented, so only what cannot be an id is refused: nothing, more than 1,024
    characters, white space, what cannot be seen, and the two names that a URL's path gives a meaning of its own.

    :param value: the id as given by the user.
    :param argument: the name of the argument that it came in, for the message.
    :raises InvalidValue: if it cannot be an id.
    """
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{argument}: must be a string that is not empty, not {shown(value)}.")
    if len(value) > _MAX_LENGTH:
        raise InvalidValue(f"{argument}: has {len(value)} characters, and may have {_MAX_LENGTH}.")
    if " " in value or not value.isprintable():
        raise InvalidValue(f"{argument}: {shown(value)} holds white space or a control character, which no id has.")
    if value in {".", ".."}:
        raise InvalidValue(f"{argument}: {value!r} is not an id.")
    return value


def validate_weight_uri(weight_uri: object, argument: str = "weight_uri") -> str:
    """Return ``weight_uri`` as ``s3://bucket/prefix``.

    ``s3a://`` and ``s3n://`` are read as ``s3://``, and the id of an Airflow connection, as in
    ``s3://aws_default@bucket/prefix``, is left out: the service reads with rights of its own.

    :param weight_uri: where the weights lie.
    :param argument: the name of the argument that it came in, for the message.
    :raises InvalidValue: if it has another scheme, a name that no bucket can have or no key, if it holds a template
        that was not rendered, or if a part of it is ``None``.
    """
    scheme = _SCHEME.match(weight_uri) if isinstance(weight_uri, str) else None
    if not isinstance(weight_uri, str) or scheme is None:
        raise InvalidValue(f"{argument}: {_shown_uri(weight_uri)} is not of the form s3://bucket/prefix.")
    bucket, _, key = weight_uri[scheme.end() :].partition("/")
    if problem := _problem_of_location(bucket, key):
        raise InvalidValue(f"{argument}: {_shown_uri(weight_uri)} is not of the form s3://bucket/prefix: it {problem}.")
    return f"s3://{bucket}/{key}"


def split_weight_uri(weight_uri: object, argument: str = "weight_uri") -> tuple[str, str]:
    """Return the bucket of a weight URI, and the key in it without slashes at its end.

    :param weight_uri: where the weights are.
    :param argument: the name of the argument that it came in, for the message.
    :raises InvalidValue: as :func:`validate_weight_uri` does.
    """
    bucket, _, key = validate_weight_uri(weight_uri, argument).removeprefix("s3://").partition("/")
    return bucket, key.rstrip("/")


def _problem_of_location(bucket: str, key: str) -> str | None:
    if "{{" in key or "{%" in key or "{" in bucket:
        return "holds a template that was not rendered"
    if "None" in (bucket, *key.split("/")):
        return "holds None in place of a name: a value that it was made of is missing"
    if "_" in bucket:
        return f"has an underscore in the bucket's name, {bucket!r}, which no bucket has"
    if not _BUCKET.fullmatch(bucket):
        return "has something else in place of a bucket's name"
    if not key.strip("/"):
        return "is the root of a bucket, and the weights must lie under a prefix"
    if len(key) > _MAX_KEY or not key.isprintable():
        return f"has a prefix of more than {_MAX_KEY} characters, or one that is not printable"
    return "ends with white space" if key != key.rstrip() else None


def _shown_uri(weight_uri: object) -> str:
    return _CREDENTIALS.sub("//***@", shown(weight_uri)) if isinstance(weight_uri, str) else shown(weight_uri)


def validate_suffix(suffix: object, argument: str = "system_fingerprint_suffix") -> str | None:
    """Return ``suffix`` if it is a string of printable characters; None if it is empty.

    :param suffix: the text as given by the user.
    :param argument: the name of the argument that it came in, for the message.
    :raises InvalidValue: if it is not.
    """
    if suffix is None or suffix == "":
        return None
    if not isinstance(suffix, str) or len(suffix) > _MAX_LENGTH or not suffix.isprintable():
        raise InvalidValue(
            f"{argument}: {shown(suffix)} is not a string of at most {_MAX_LENGTH} printable characters."
        )
    return suffix


def shown(value: object) -> str:
    """A wrong value as a message shows it: in one line, and not at any length.

    :param value: the value.
    """
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def path_segment(value: object, argument: str) -> str:
    """Percent-encode an id, so that no character of it can leave its segment of the path.

    :param value: the id.
    :param argument: the name of the argument that it came in, for the message.
    :raises InvalidValue: see :func:`validate_identifier`.
    """
    return quote(validate_identifier(value, argument), safe="")


@dataclass(frozen=True, slots=True)
class ModelVersionName:
    """The full name of a model version: ``orgs/<org>/models/<arch>/versions/<number or alias>``.

    :param org_name: the organization.
    :param model_arch_id: the model architecture.
    :param version_id: the number of the version, or one of its aliases.
    """

    org_name: str
    model_arch_id: str
    version_id: str

    @classmethod
    def parse(cls, text: object, argument: str = "model_version") -> ModelVersionName:
        """Read a full name.

        :param text: the name.
        :param argument: the name of the argument that it came in, for the message.
        :raises InvalidValue: if it has another form.
        """
        match = _MODEL_VERSION.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidValue(
                f"{argument}: {shown(text)} is not a model version. The full name is "
                "orgs/<organization>/models/<architecture>/versions/<number or alias>."
            )
        org_name, model_arch_id, version_id = match.groups()
        validate_identifier(org_name, argument)
        validate_identifier(model_arch_id, argument)
        if not _NUMBER.fullmatch(version_id):
            validate_alias(version_id, argument)
        return cls(org_name, model_arch_id, version_id)

    @property
    def number(self) -> int | None:
        """The number of the version, or None where the name was made with an alias."""
        return int(self.version_id) if _NUMBER.fullmatch(self.version_id) else None

    def with_version_id(self, version_id: str) -> ModelVersionName:
        """The name of another version, by number or alias, of the same organization and architecture."""
        return ModelVersionName(self.org_name, self.model_arch_id, version_id)

    def __str__(self) -> str:
        return f"orgs/{self.org_name}/models/{self.model_arch_id}/versions/{self.version_id}"
