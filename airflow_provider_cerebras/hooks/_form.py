"""The extra fields of the connection's form below Airflow 3.2, which takes them as fields of WTForms.

From Airflow 3.2 on, the provider info describes them. Airflow 2 brings WTForms for its UI; Airflow 3.0 and 3.1 read the
same fields and put classes of their own in the place of WTForms'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.provider_info import CONNECTION_FIELDS
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from collections.abc import Mapping


# Of a form that is saved again Airflow 2 drops 0 and false, which mean something here. They stay in *Extra*, as JSON.
_IN_EXTRA = frozenset({"max_retries", "verify"})


def form_fields() -> dict[str, Any]:
    """Return the fields by name; none where WTForms is not installed: *Extra* takes them as JSON there."""
    try:
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import PasswordField, StringField
        from wtforms.validators import Optional
    except ImportError:
        return {}

    def field(given: Mapping[str, Any]) -> Any:
        is_secret = given["schema"].get("format") == "password"
        kind, widget = (PasswordField, _secret_widget()) if is_secret else (StringField, BS3TextFieldWidget())
        return kind(given["label"], validators=[Optional()], description=given["description"], widget=widget)

    return {name: field(given) for name, given in CONNECTION_FIELDS.items() if name not in _IN_EXTRA}


def _secret_widget() -> Any:
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget

    if AIRFLOW_V_3_0_PLUS:
        return BS3PasswordFieldWidget()

    class SecretWidget(BS3PasswordFieldWidget):  # type: ignore[misc]
        """Stands for a stored secret by a word of Airflow's, by which a form that is saved again leaves it as it is.

        An empty field, as of a password, would delete it.
        """

        def __call__(self, field: Any, **attributes: Any) -> Any:
            # Only the web server draws it; others that read the form's fields have no need of its views.
            from airflow.www.views import SENSITIVE_FIELD_PLACEHOLDER

            # What was typed is kept in a form that comes back because of another field.
            typed = "".join(field.raw_data or ())
            value = typed or (SENSITIVE_FIELD_PLACEHOLDER if field.data else "")
            return super().__call__(field, value=value, **attributes)

    return SecretWidget(hide_value=False)
