"""The seal: weights that are the same before the upload and after the sync, or the version is not returned.

The service copies for minutes or hours, and what is written under the prefix meanwhile can get into the version in
part. So all objects are listed before the upload is sent, and once more when the sync has ended. The digest of both
listings must be the same. Only the digest is needed for that, so only the digest travels over a deferral.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import CerebrasError, UnexpectedResponse
from airflow_provider_cerebras.api.evidence import numbered_name
from airflow_provider_cerebras.durable.alias_lists import AliasEditor
from airflow_provider_cerebras.durable.aliases import find_version
from airflow_provider_cerebras.durable.identity import weights_alias
from airflow_provider_cerebras.durable.upload_steps import known_aliases
from airflow_provider_cerebras.exceptions import AliasesUnsettled, InvalidArgument, WeightsChanged

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.polling.log import Log
    from airflow_provider_cerebras.weights.objects import Listing, StoredObject


class Seal(NamedTuple):
    """The digest of the objects under a prefix.

    :param weight_uri: where the weights are, ``s3://bucket/prefix``.
    :param digest: the digest of the objects.
    :param objects: the objects, by which those that differ later can be named; None: only the digest is known.
    """

    weight_uri: str
    digest: str
    objects: tuple[StoredObject, ...] | None = None


def need_connection(aws_conn_id: str | None, **options: object) -> None:
    """Refuse options that mean nothing without a connection by which the weights can be listed.

    :param aws_conn_id: id of the AWS connection, or None.
    :param options: the options that need it, as given.
    :raises InvalidArgument: if one of them is set, and there is no connection.
    """
    for name, value in options.items():
        if value and aws_conn_id is None:
            raise InvalidArgument(
                f"{name}: needs aws_conn_id, by which the weights in S3 are listed and compared. Give aws_conn_id as "
                f"well, for example 'aws_default', or leave {name} out."
            )


def take_seal(weight_uri: str, aws_conn_id: str, weights_digest: str | None = None) -> Seal:
    """List the weights before they are uploaded.

    :param weight_uri: where the weights are.
    :param aws_conn_id: id of the AWS connection.
    :param weights_digest: digest that they must have; None: any.
    :raises WeightsChanged: if they have another one.
    :raises WeightsNotFound: if nothing is there.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    """
    from airflow_provider_cerebras.weights import WeightsNotFound, digest_of
    from airflow_provider_cerebras.weights.findings import KINDS

    listing = _list(weight_uri, aws_conn_id)
    digest = digest_of(listing.objects)
    if weights_digest is not None and digest != weights_digest:
        raise WeightsChanged(
            f"The weights at {listing.location.uri} are not those with the digest {weights_digest}: {_shown(listing)} "
            f"Nothing was uploaded.{_last_written(listing)} Find out what wrote there since that digest was made, or "
            "train again."
        )
    if not listing.objects:
        raise WeightsNotFound(
            f"There is no object under {listing.location.uri}, so nothing was uploaded. {KINDS['nothing-there'].remedy}"
        )
    return Seal(weight_uri, digest, listing.objects)


def check_seal(seal: Seal, aws_conn_id: str, model_version: str) -> None:
    """List the weights again, since their sync has ended.

    :param seal: what was there before.
    :param aws_conn_id: id of the AWS connection.
    :param model_version: full name of the version that was made of them.
    :raises WeightsChanged: if something else is there now.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    """
    from airflow_provider_cerebras.weights import digest_of
    from airflow_provider_cerebras.weights.changes import describe_changes

    listing = _list(seal.weight_uri, aws_conn_id)
    if digest_of(listing.objects) == seal.digest:
        return
    if seal.objects is None:
        names = _last_written(listing)
    else:
        names = f" Since then, these objects were {describe_changes(seal.objects, listing.objects)}."
    raise WeightsChanged(
        f"The weights at {listing.location.uri} are not those with the digest {seal.digest}, from before the upload: "
        f"{_shown(listing)}{names} The service read them in between, so model version {model_version} may hold a "
        "mixture of both. It is not returned, so that nothing deploys it. Find out what wrote there, give each "
        "training run a prefix of its own, and upload again."
    )


def check_version(
    client: CerebrasClient, model_version: str, weights_digest: str, aws_conn_id: str, *, log: Log
) -> None:
    """Make sure that what a version was made of is still as it was before the upload.

    Calls ``GET`` and, if it is not, ``PATCH /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param client: how to reach the service, which knows where the weights are.
    :param model_version: full name of the version, which is synced.
    :param weights_digest: digest from before the upload.
    :param aws_conn_id: id of the AWS connection.
    :param log: logger for its actions.
    :raises UnexpectedResponse: if the service does not say where the weights are.
    :raises WeightsChanged: if something else is there now.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    """
    version = client.send(operations.get_model_version(model_version))
    weight_uri = version.details.customer_s3_uri
    if str(numbered_name(version)) != model_version or not weight_uri:
        raise UnexpectedResponse(
            f"The response about model version {model_version} does not say where its weights are (customer_s3_uri), "
            "so they cannot be compared with weights_digest."
        )
    try:
        check_seal(Seal(weight_uri, weights_digest), aws_conn_id, model_version)
    except WeightsChanged:
        disown(client, model_version, weights_alias(weights_digest, version.details.system_fingerprint_suffix), log=log)
        raise


def disown(client: CerebrasClient, model_version: str, alias: str, *, log: Log) -> None:
    """Keep later uploads of the same weights from adopting a version that may hold a mixture; it never fails a task.

    :param client: how to reach the service.
    :param model_version: full name of the version, by number.
    :param alias: the alias of the weights.
    :param log: logger for its actions.
    """
    try:
        version = find_version(client, model_version)
        if version is not None and alias in (known_aliases(version) or ()):
            AliasEditor(client, log=log).change(version.name, remove=[alias], settle=False)
    except (CerebrasError, AliasesUnsettled) as error:
        log.warning("The alias %s stays on model version %s: %s", alias, model_version, error)


def _list(weight_uri: str, aws_conn_id: str) -> Listing:
    # To parse a DAG, nothing of it is needed.
    from airflow_provider_cerebras.weights import list_weights

    return list_weights(weight_uri, aws_conn_id)


def _shown(listing: Listing) -> str:
    from airflow_provider_cerebras.weights import digest_of

    return f"theirs is {digest_of(listing.objects)}." if listing.objects else "nothing is there."


def _last_written(listing: Listing) -> str:
    from airflow_provider_cerebras.weights.changes import describe_last_written

    words = describe_last_written(listing.objects)
    return f" Last written there: {words}." if words else ""
