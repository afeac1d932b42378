"""What can be registered, and where it goes: operations, formulations, backends, recipes, metrics.

A room's file builds one of these frozen records and registers it when it is imported; nothing else
in the harness has to be told. A second thing of one name raises `RegistrationError`: nothing is ever
overridden. No heavy import here: arrays are named in annotations only.
"""

from __future__ import annotations

from harness.registry.backends import (
    Backend,
    Lack,
)
from harness.registry.lookup import (
    find_formulation,
    find_gradient,
    formulations_of,
    support,
)
from harness.registry.names import (
    Registry,
)
from harness.registry.operations import (
    COTANGENT,
    PRIMITIVE_GROUPS,
    Cost,
    ExactProblem,
    Formulation,
    Gradient,
    Operation,
    Parameter,
    Thunk,
    gradient_output,
)
from harness.registry.recipes import (
    ARGUMENT_KINDS,
    Argument,
    Metric,
    Recipe,
    RecipeContext,
)
from harness.registry.rooms import (
    BACKENDS,
    FORMULATIONS,
    GRADIENTS,
    METRICS,
    OPERATIONS,
    RECIPES,
    formulation,
    gradient,
    library,
    own_variables,
    register_backend,
    register_metric,
    register_operation,
    register_recipe,
    require_formulations_of_gradients,
    variables_as_set,
)

__all__ = [
    "ARGUMENT_KINDS",
    "BACKENDS",
    "COTANGENT",
    "FORMULATIONS",
    "GRADIENTS",
    "METRICS",
    "OPERATIONS",
    "PRIMITIVE_GROUPS",
    "RECIPES",
    "Argument",
    "Backend",
    "Cost",
    "ExactProblem",
    "Formulation",
    "Gradient",
    "Lack",
    "Metric",
    "Operation",
    "Parameter",
    "Recipe",
    "RecipeContext",
    "Registry",
    "Thunk",
    "find_formulation",
    "find_gradient",
    "formulation",
    "formulations_of",
    "gradient",
    "gradient_output",
    "library",
    "own_variables",
    "register_backend",
    "register_metric",
    "register_operation",
    "register_recipe",
    "require_formulations_of_gradients",
    "support",
    "variables_as_set",
]
