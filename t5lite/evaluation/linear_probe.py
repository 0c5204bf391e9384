"""What a linear classifier finds in frozen features (Alain & Bengio, 2016), beside a control.

It is multinomial logistic regression on standardised features, with the L2 penalty of scikit-learn's default
(C=1), fitted by L-BFGS. The control is fitted to the same labels, shuffled (after Hewitt & Liang, 2019, whose
control tasks give each word type a label; a text is a type of its own): what it reaches, a probe reaches
without that there is anything to find.
"""

from dataclasses import dataclass

import numpy as np
import scipy.optimize

_SEED = 20191
_MAX_STEPS = 2000


@dataclass(frozen=True)
class Probed:
    """Answers to the held-out rows, int [N] each.

    Attributes:
      predictions_N: of the probe.
      control_N: of the control.
      control_labels_N: what is right for the control.
    """

    predictions_N: np.ndarray
    control_N: np.ndarray
    control_labels_N: np.ndarray


def probe(
    features_ND: np.ndarray, labels_N: np.ndarray, heldout_ND: np.ndarray, heldout_labels_N: np.ndarray
) -> Probed:
    """Return what a probe that is fitted to rows with features and labels says of held-out ones."""
    mean_D, std_D = features_ND.mean(axis=0), features_ND.std(axis=0)
    scale_D = np.where(std_D > 0, std_D, 1)
    train_ND, test_ND = ((each - mean_D) / scale_D for each in (features_ND, heldout_ND))
    rng = np.random.default_rng(_SEED)
    shuffled_N, control_labels_N = rng.permutation(labels_N), rng.permutation(heldout_labels_N)
    num_classes = 1 + int(max(labels_N.max(), heldout_labels_N.max()))
    answers = []
    for wanted_N in (labels_N, shuffled_N):
        kernel_DC, bias_C = logistic_regression(train_ND, wanted_N, num_classes=num_classes)
        answers.append((test_ND @ kernel_DC + bias_C).argmax(axis=1))
    return Probed(answers[0], answers[1], control_labels_N)


def logistic_regression(
    features_ND: np.ndarray, labels_N: np.ndarray, *, num_classes: int, l2: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel [D, C] and the bias [C] that minimise the summed cross-entropy and the penalty.

    Args:
      features_ND: float.
      labels_N: in ``[0, num_classes)``.
      num_classes: a class without a row is learned to be improbable.
      l2: half of it times the squared norm of the kernel is added; the bias is free.
    """
    count, width = features_ND.shape
    features_ND = features_ND.astype(np.float64)
    is_label_NC = np.eye(num_classes)[labels_N]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel_DC, bias_C = flat[: width * num_classes].reshape(width, num_classes), flat[-num_classes:]
        logits_NC = features_ND @ kernel_DC + bias_C
        logits_NC -= logits_NC.max(axis=1, keepdims=True)
        log_probs_NC = logits_NC - np.log(np.exp(logits_NC).sum(axis=1, keepdims=True))
        error_NC = np.exp(log_probs_NC) - is_label_NC
        gradient = [(features_ND.T @ error_NC + l2 * kernel_DC).ravel(), error_NC.sum(axis=0)]
        value = -(log_probs_NC * is_label_NC).sum() + l2 / 2 * np.square(kernel_DC).sum()
        return value / count, np.concatenate(gradient) / count

    start = np.zeros((width + 1) * num_classes)
    options = {"maxiter": _MAX_STEPS, "gtol": 1e-7, "ftol": 1e-12}
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    return found[: width * num_classes].reshape(width, num_classes), found[-num_classes:]
