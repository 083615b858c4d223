"""The check of weights from its beginning to its end: list, read, examine, report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.names import shown, validate_identifier
from airflow_provider_cerebras.weights.bucket import examine_bucket
from airflow_provider_cerebras.weights.checks import CHECKS, validate_checks
from airflow_provider_cerebras.weights.description import Description
from airflow_provider_cerebras.weights.digest import digest_of, validate_digest
from airflow_provider_cerebras.weights.errors import WeightsNotFound
from airflow_provider_cerebras.weights.examine import examine, or_sound, report_of
from airflow_provider_cerebras.weights.files import Model
from airflow_provider_cerebras.weights.findings import finding
from airflow_provider_cerebras.weights.objects import Listing
from airflow_provider_cerebras.weights.policy import Role
from airflow_provider_cerebras.weights.reader import S3Reader
from airflow_provider_cerebras.weights.values import examine_values, samples_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_cerebras.weights.findings import Finding
    from airflow_provider_cerebras.weights.report import Report


def check_weights(
    weight_uri: str,
    model_arch_id: str,
    *,
    weights_digest: str | None = None,
    reader_role_arn: str | None = None,
    checks: Iterable[str] | None = None,
    sample_values: bool = False,
    aws_conn_id: str | None = "aws_default",
) -> Report:
    """Check weights in S3, by one listing, the headers of the files and, if asked to, a sample of their values.

    :param weight_uri: where the weights are, ``s3://bucket/prefix``.
    :param model_arch_id: the architecture that they are meant for.
    :param weights_digest: the digest that they must have; if they have another one, nothing more is checked.
    :param reader_role_arn: the role by which the service reads; None: the bucket is not checked.
    :param checks: names of the checks to make, out of ``files``, ``index``, ``config``, ``values`` and ``bucket``;
        None: all that can be made.
    :param sample_values: whether to read a sample of the values, a few KiB of each file.
    :param aws_conn_id: id of the AWS connection; default: ``aws_default``; None: AWS's own search for credentials.
    :raises ValueError: if an argument has another form.
    :raises S3ExtraMissing: if the Amazon provider is not installed.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    """
    validate_identifier(model_arch_id, "model_arch_id")
    role = None if reader_role_arn is None else Role.parse(reader_role_arn)
    chosen = _chosen(checks, sample_values=sample_values, role=role)
    if weights_digest is not None:
        validate_digest(weights_digest)

    reader = S3Reader(weight_uri, aws_conn_id)
    try:
        listing = reader.list_objects()
    except WeightsNotFound as error:
        empty = Description(Listing(reader.location, ()))
        return report_of(empty, Model(), model_arch_id, chosen, [finding("bucket-missing", str(error))])
    digest = digest_of(listing.objects) if listing.objects else "none, for nothing is there"
    if weights_digest not in {None, digest}:
        what = f"The digest of the {len(listing.objects)} objects is {digest}, not {weights_digest}."
        found = [finding("digest-differs", what)]
        return report_of(Description(listing), Model(), model_arch_id, (), found)

    description = reader.describe(listing)
    model, findings = examine(description, model_arch_id, chosen)
    if "values" in chosen:
        findings += _values(reader, listing, model)
    if "bucket" in chosen and role is not None:
        findings += _bucket(reader, description, role)
    return report_of(description, model, model_arch_id, chosen, findings)


def _chosen(checks: Iterable[str] | None, *, sample_values: bool, role: Role | None) -> tuple[str, ...]:
    possible = [each for each in CHECKS if (sample_values or each != "values") and (role or each != "bucket")]
    if checks is None:
        return tuple(possible)
    if isinstance(checks, str):
        raise ValueError(f"checks: must be a list of names, not {shown(checks)}.")  # noqa: TRY004  as all others
    wanted = validate_checks(list(checks))
    for each in wanted:
        if each not in possible:
            needed = "sample_values=True" if each == "values" else "reader_role_arn"
            raise ValueError(f"checks: {each!r} needs {needed}.")
    return tuple(each for each in CHECKS if each in wanted)


def _values(reader: S3Reader, listing: Listing, model: Model) -> list[Finding]:
    contents = reader.read(listing, samples_of(model))
    if not contents:
        return []
    what = f"Tensors of which {sum(map(len, contents.values()))} bytes were read: {len(contents)}."
    return or_sound(examine_values(contents), "values", what)


def _bucket(reader: S3Reader, description: Description, role: Role) -> list[Finding]:
    location, facts = reader.location, reader.bucket_facts(role)
    keys = [f"{location.prefix}{each.key}" for each in description.listing.objects]
    region = facts.region or "unknown"
    found = list(examine_bucket(location.bucket, keys, role, facts))
    if any(each.code in {"access-unclear", "policy-unreadable"} for each in found):
        return found
    return or_sound(found, "bucket", f"{role.arn} may read {location.bucket!r}, in the region {region}.")
