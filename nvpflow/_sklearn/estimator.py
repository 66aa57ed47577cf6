"""scikit-learn's conventions for estimators: parameters, tags and clones. Only methods that scikit-learn calls import it."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from nvpflow._fitted import FittedModel
from nvpflow._sklearn.metadata_routing import MetadataConsumer
from nvpflow._sklearn.parameters import Check, check_parameters

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.outliers import FlowOutlierDetector

__all__ = ["Estimator"]


class Estimator(FittedModel, MetadataConsumer):
    """Base class of estimators. The parameters are the arguments of the constructor, which only stores them."""

    _estimator_type: ClassVar[str]
    _parameter_checks: ClassVar[dict[str, Check]]

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        parameters = sorted(inspect.signature(cls).parameters.items())
        return {name: parameter.default for name, parameter in parameters}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of the constructor.

        Parameters
        ----------
        deep : ignored
            No parameter is an estimator.

        Returns
        -------
        params : dict of str to object
            Values by name.
        """
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the constructor.

        Parameters
        ----------
        **params : object
            Values by name. `fit` checks them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no such parameter. Nothing changes then.
        """
        known = self._defaults()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for {type(self).__name__}; valid parameters are {', '.join(known)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _check_parameters(self) -> dict[str, Any]:
        """Check all parameters, including those that others make irrelevant. Return the values to use."""
        return check_parameters(self, self._parameter_checks)

    def _changed_params(self) -> dict[str, Any]:
        """The parameters that differ from the defaults."""
        defaults = self._defaults()
        return {
            name: value
            for name, value in self.get_params().items()
            if type(value) is not type(defaults[name]) or value != defaults[name]
        }

    def __repr__(self) -> str:
        changed = ", ".join(f"{name}={value!r}" for name, value in self._changed_params().items())
        return f"{type(self).__name__}({changed})"

    def _repr_html_(self) -> str:
        from nvpflow._display import estimator_html

        return estimator_html(cast("FlowDensity | FlowOutlierDetector", self))  # there are no others

    def __sklearn_tags__(self) -> Any:
        """The ``sklearn.utils.Tags``. Only scikit-learn, from 1.6, calls this."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(allow_nan=getattr(self, "missing", "error") == "marginalize"),
            transformer_tags=TransformerTags(preserves_dtype=[]) if hasattr(self, "transform") else None,
        )

    def __sklearn_clone__(self) -> Self:
        """Create an unfitted estimator with the same parameters, for `sklearn.base.clone`."""
        settings = {name: value for name, value in vars(self).items() if name in ("_output_container", "_requests")}
        twin = type(self)(**copy.deepcopy(self.get_params()))
        vars(twin).update(copy.deepcopy(settings))
        return twin
