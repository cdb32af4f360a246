"""Small networks with every layer that bounds go through, and images of a ball to hold against the bounds."""

import itertools

import torch
from torch import nn

from advlib.attacks import pgd
from advlib.data.images import Images
from advlib.defenses.training import fit
from advlib.models import Normalize, load_model


def made(build, seed=0):
    """What ``build()`` makes from weights of this seed, with batch norms that have seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
                module.weight.data.normal_(), module.bias.data.normal_()
    return model.eval()


def convolutional():
    return nn.Sequential(
        Normalize([0.4, 0.5], [0.3, 0.2]),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.3)),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect", bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2, stride=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Identity(),
        nn.Dropout(0.5),
        nn.Linear(8, 3),
    )


def pooled_at_the_end():
    """No linear layer last."""
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, stride=2), nn.ReLU(), nn.Conv2d(5, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(72, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3, bias=False)
    )


NETWORKS = {"convolutional": convolutional, "pooled at the end": pooled_at_the_end, "mlp": mlp}


def images(n=3, channels=2, size=6, seed=0):
    """Some of the pixels at the ends of the box, where the ball is cut."""
    x = 1.4 * torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed)) - 0.2
    return x.clamp(0, 1)


def inside(x, within, count=2000, seed=0):
    """``count`` images of the ball around each of x, (N, count, C, H, W): half of them corners."""
    generator = torch.Generator().manual_seed(seed)
    chance = 2 * torch.rand(len(x), count, *x.shape[1:], generator=generator).to(x) - 1
    chance[:, ::2] = chance[:, ::2].sign()
    eps = torch.as_tensor(within.eps).to(x).view(-1, 1, 1, 1, 1)
    return (x[:, None] + eps * chance).clamp(0, 1)


def reached(model, x, within, classes, count=2000):
    """Logits (N, …, K) at random images, corners, and where PGD makes each logit largest and smallest."""
    points = [inside(x, within, count)]
    for own, rival in itertools.permutations(range(classes), 2):
        label = torch.full((len(x),), own)
        points.append(pgd(model, x, label, within, target=rival, steps=10, early_stop=False)[:, None])
    every = torch.cat(points, 1)
    with torch.no_grad():
        return model(every.flatten(0, 1)).unflatten(0, every.shape[:2])


def corners(x, within):
    """All corners (N, 2^d, C, H, W) of the ball around small images, cut to the box."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=x[0].numel()))).view(-1, *x.shape[1:]).to(x)
    return (x[:, None] + within.eps * signs).clamp(0, 1)


def stripes(n=200, seed=0):
    """Two classes that differ in two of sixteen pixels."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(n, 1, 4, 4, generator=generator), torch.arange(n) % 2
    x[:, 0, 0, :2] = (0.25 + 0.5 * y + 0.2 * (x[:, 0, 0, 0] - 0.5))[:, None]
    return Images(x, y, ("dark", "bright"))


def trained(seed=0):
    """A network of two hidden layers that tells stripes apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)
        )
    fit(model, stripes(), epochs=10, lr=0.02, batch_size=20, progress=False)
    return model


def signs_small():
    """Of the models that come with the package, one small enough for CROWN: a network of `signs_small`."""
    return load_model("signs-midfit-a")
