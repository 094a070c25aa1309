"""The adaptation of learning rates while training, by the hypergradient. How the parts play together:

- `HypergradientLR` has an `AdaptedOptimizer` for each optimizer, which it calls at the end of each batch. Before each
  step it calls the `LRController` of that.
- The `LRController` sums, before a step, over the gradient and a displacement: `alignment_sums`. The displacement is
  that from the anchor, a mean of the iterates (`AnchorDisplacement`), or of the last step (`LastStepDisplacement`).
- The `MeasurementQueue` brings these sums, and the losses, from the device one step later, as a `Measurement`.
- The `LossLevel` follows the loss, and the `DivergenceDetector` the gradients as well. If training has diverged, the
  `Guard` returns to the anchor.
- Else a rule (`LongHorizon`, `Multiplicative` or `Additive`) takes the `Alignment` and gives the factor by which the
  scale of a `ScaledGroup` changes.
- `OptimizerScales` limits the scales and, once a step, writes ``scale · scheduled learning rate`` through `ScaledLRs`,
  at the end of a run times the `FinalDecay`.

All constants are in `constants`, the keys of checkpoints in `checkpoint_keys`.
"""

from lightning_lr.adaptation.decay import FinalDecay
from lightning_lr.adaptation.divergence import DivergenceDetector
from lightning_lr.adaptation.rules import Additive, Alignment, LongHorizon, Multiplicative

__all__ = ["Additive", "Alignment", "DivergenceDetector", "FinalDecay", "LongHorizon", "Multiplicative"]
