"""What a layer computes from its weights before it can use them, computed once."""

from collections.abc import Callable

import torch


class Folded:
    """What `make` computes from a weight, remembered for this version of it while no gradient runs.

    An optimizer's step, an EMA or a loaded checkpoint changes the version; writing through `.data`
    does not, so write under `torch.no_grad()` instead.
    """

    def __init__(self):
        self.weight = self.state = self.value = None

    def __call__(self, make: Callable, weight: torch.Tensor, *how) -> torch.Tensor:
        """`make(weight, *how)`."""
        if (torch.is_grad_enabled() and weight.requires_grad) or weight.is_inference():
            return make(weight, *how)
        state = (weight._version, weight.data_ptr(), weight.dtype, *how)
        if self.weight is not weight or self.state != state:
            with torch.inference_mode(False), torch.no_grad():
                self.value = make(weight, *how)
            self.weight, self.state = weight, state
        return self.value

    def __deepcopy__(self, memo):
        return Folded()  # a copied network folds its own weights

    def __reduce__(self):
        return Folded, ()
