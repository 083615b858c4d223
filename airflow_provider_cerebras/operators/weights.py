"""The operator that checks weights before they are uploaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_cerebras.arguments.declared import DeclaresArguments
from airflow_provider_cerebras.arguments.kinds import (
    BOOLEAN,
    CHECKS,
    CONN_ID,
    DIGEST,
    IDENTIFIER,
    ROLE_ARN,
    WEIGHT_URI,
    takes,
)
from airflow_provider_cerebras.exceptions import InvalidArgument, WeightsChanged, WeightsRejected
from airflow_provider_cerebras.links import CerebrasWeightsLink
from airflow_provider_cerebras.traces import set_attributes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context

    from airflow_provider_cerebras.arguments.given import Flag, Text, Texts


class CerebrasCheckWeightsOperator(DeclaresArguments, BaseOperator):
    """Check weights in S3, in seconds, for errors that the service would report after hours.

    Reads a listing, the headers of the files and a few small files; needs the extra ``s3``. Returns the report as a
    dict: ``findings`` (each with ``level``, ``code``, ``object``, ``tensor`` and ``message``), ``files``, ``bytes``,
    ``tensors``, ``parameters`` by dtype, and ``digest``, which goes into ``weights_digest`` of later tasks. The log
    shows it as a table.

    Calls ``ListObjectsV2`` and ``GetObject`` of S3, and for the bucket ``GetBucketPolicy`` and what it asks besides.

    :param weight_uri: ``s3://bucket/prefix`` of the weights. (templated)
    :param model_arch_id: id of the architecture that the weights are meant for. (templated)
    :param weights_digest: digest that the weights must have, which ``airflow_provider_cerebras.weights.weights_digest``
        gives to the training task; default None, any. (templated)
    :param reader_role_arn: ARN of the role by which the service reads, which Cerebras tells its customers; default
        None, and the bucket is not checked. (templated)
    :param checks: the checks to make, out of ``files``, ``index``, ``config``, ``values`` and ``bucket``; default None,
        all that can be made. (templated)
    :param sample_values: whether to read a few KiB of each file, to see if the training diverged; default False.
        (templated)
    :param aws_conn_id: id of the AWS connection, which needs ``s3:ListBucket`` and ``s3:GetObject``; default
        ``aws_default``; None: AWS's own search for credentials. (templated)
    :raises WeightsRejected: if something is certainly broken.
    :raises WeightsChanged: if the weights have another digest than ``weights_digest``.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    """

    arguments = takes(
        weight_uri=WEIGHT_URI,
        model_arch_id=IDENTIFIER,
        weights_digest=DIGEST.or_none,
        reader_role_arn=ROLE_ARN.or_none,
        checks=CHECKS.or_none,
        sample_values=BOOLEAN,
        aws_conn_id=CONN_ID.or_none,
    )
    operator_extra_links: Collection[BaseOperatorLink] = (CerebrasWeightsLink(),)

    def __init__(
        self,
        *,
        weight_uri: Text,
        model_arch_id: Text,
        weights_digest: Text | None = None,
        reader_role_arn: Text | None = None,
        checks: Texts | None = None,
        sample_values: Flag = False,
        aws_conn_id: Text | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.weight_uri: str = weight_uri  # type: ignore[assignment]  # read before execute
        self.model_arch_id: str = model_arch_id  # type: ignore[assignment]  # read before execute
        self.weights_digest: str | None = weights_digest  # type: ignore[assignment]  # read before execute
        self.reader_role_arn: str | None = reader_role_arn  # type: ignore[assignment]  # read before execute
        self.checks: Sequence[str] | None = checks  # type: ignore[assignment]  # read before execute
        self.sample_values: bool = sample_values  # type: ignore[assignment]  # read before execute
        self.aws_conn_id: str | None = aws_conn_id  # type: ignore[assignment]  # read before execute

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the weights, and return the report."""
        # To parse a DAG, nothing of it is needed.
        from airflow_provider_cerebras.weights import check_weights

        try:
            report = check_weights(
                str(self.weight_uri),
                str(self.model_arch_id),
                weights_digest=self.weights_digest,
                reader_role_arn=self.reader_role_arn,
                checks=self.checks,
                sample_values=self.sample_values,
                aws_conn_id=self.aws_conn_id,
            )
        except ValueError as error:
            raise InvalidArgument(str(error)) from error
        set_attributes(weights_digest=report.digest)
        if self.weights_digest is not None and report.digest != self.weights_digest:
            raise WeightsChanged(
                f"The weights at {report.weight_uri} are not those with the digest {self.weights_digest}: "
                f"theirs is {report.digest or 'none, for nothing is there'}. Something was added, removed or replaced "
                "there since that digest was made. Find out what wrote there, or train again."
            )
        if report.errors:
            self.log.error("%s", report.table())
            raise WeightsRejected(f"The weights at {report.weight_uri} are rejected for {report.summary()}")
        self.log.info("%s", report.table())
        if self.do_xcom_push and report.digest is not None:
            ti: Any = context["ti"]
            # A task that comes later takes ``check.output["digest"]``.
            ti.xcom_push(key="digest", value=report.digest)
        return report.to_json()
