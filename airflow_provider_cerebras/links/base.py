"""The base of the links: each is stored before the work begins, so it is there while a task waits and after it failed.

Airflow 3 reads the stored URL itself; Airflow 2 asks :meth:`CerebrasLink.get_link` in the webserver.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

_log = logging.getLogger(__name__)


class CerebrasLink(BaseOperatorLink):
    """A link whose URL is an XCom under :attr:`xcom_key`."""

    name: ClassVar[str]
    base_url: ClassVar[str]
    """The prefix of every URL of the link; a stored value without it is not shown."""

    @property
    def xcom_key(self) -> str:
        """The XCom key of the URL; Airflow 3 reads it by itself."""
        return f"_link_{type(self).__name__}"

    @abstractmethod
    def url(self, task: Any) -> str:
        """The URL for a task whose template fields are rendered, or an empty string if it has none."""

    def persist(self, task: object, context: Context) -> None:
        """Store the URL. Should that fail, the task goes on without a link.

        :param task: the operator or sensor that runs.
        :param context: the task's context.
        """
        if url := self.url(task):
            try:
                _store(context["ti"], self.xcom_key, url)
            except Exception as error:  # noqa: BLE001  it is behind another API, which can fail in any way
                _log.warning("The link %r is not stored: %s", self.name, error)

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, or an empty string.

        :param operator: the operator: on a worker of Airflow 3 the task itself, in the webserver of Airflow 2 what was
            stored of it.
        :param ti_key: the task instance.
        """
        try:
            if hasattr(operator, "arguments"):
                return self.url(operator)
            from airflow.providers.common.compat.sdk import XCom

            url = XCom.get_value(key=self.xcom_key, ti_key=ti_key)
        except Exception as error:  # noqa: BLE001  a link that is missing must not take the page with it
            _log.debug("The link %r cannot be read: %s", self.name, error)
            return ""
        return url if isinstance(url, str) and url.startswith(self.base_url) else ""


def _store(ti: Any, key: str, url: str) -> None:
    """Store a URL so that Airflow's server finds it as it is, also where XComs are kept elsewhere.

    The server of Airflow 3 reads the value in the database, which with an XCom backend of the user's own can be a path.
    Airflow itself stores links past the backend as well, but only when the task has ended.
    """
    from airflow.providers.common.compat.sdk import XCom

    past_the_backend = getattr(XCom, "_set_xcom_in_db", None)
    if past_the_backend is None or "_set_xcom_in_db" in vars(XCom):  # Airflow 2, or no backend of the user's own
        ti.xcom_push(key=key, value=url)
    else:
        past_the_backend(
            key=key, value=url, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
        )


def persist_links(task: Any, context: Context) -> None:
    """Store the URLs of all links of a task; to be called before anything that may fail.

    :param task: the operator or sensor that runs.
    :param context: the task's context.
    """
    for link in task.operator_extra_links:
        if isinstance(link, CerebrasLink):
            link.persist(task, context)
