"""Floating-point operations of a train step, of a model that may be frozen in part.

Of a product with a kernel a step has three parts: forward, the gradient of the input and that of the kernel.
A frozen kernel has not the third. Where nothing is trained that its input is made with, there is no second.
"""

from t5lite.models.flops import cross_logits_flops, stack_flops, stack_lengths, train_step_flops
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.training.gradients import memory_kernels, step_gradients


def step_flops(
    model: FunctionalModel,
    optimizer: Optimizer,
    *,
    batch_size: int,
    encoder_length: int = 0,
    decoder_length: int = 0,
) -> float:
    """Return the FLOPs of a train step that takes the gradients that the optimizer needs, and no others.

    Where everything is trained it is ``models.flops.train_step_flops``, as what ``remat`` makes again, which
    does not count either.
    """
    lengths = {"encoder_length": encoder_length, "decoder_length": decoder_length}
    gradients = step_gradients(model, optimizer)
    trained, stacks = gradients.trained, gradients.stacks
    flops = train_step_flops(model.config, batch_size=batch_size, **lengths)
    for kernel in gradients.kernels:
        vectors = batch_size * (1 if kernel.side is None else lengths[f"{kernel.side}_length"])
        left_out = (kernel.path not in trained) + (not kernel.input_gradient)
        flops -= left_out * 2 * kernel.num_elements * vectors
    for each in stack_lengths(model.config, encoder_length, decoder_length):
        if not stacks[each.stack.side].through:
            layers = stack_flops(each)
            flops -= batch_size * 2 * (layers.logits + layers.context)
        elif each.stack.memory is not None and not stacks[each.stack.memory].output:
            # Of what nobody trains no gradient is taken: of the keys, or of the values.
            own = [path for path in trained if path.startswith(f"{each.stack.side}/")]
            frozen = sum(not any(part in path for path in own) for part in memory_kernels(each.stack))
            flops -= batch_size * frozen * cross_logits_flops(each)
    return flops
