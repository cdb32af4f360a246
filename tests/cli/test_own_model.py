"""``advlib attack --model my_model.py:make``: one's own model, and the mistakes that one can make with it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from advlib.cli import own_model
from advlib.data import load_photo

NET = """
    import torch
    from torch import nn
    from advlib.models import Normalize

    def bare():
        return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))

    def make():
        return nn.Sequential(Normalize([0.5] * 3, [0.25] * 3), nn.Flatten(), nn.Linear(3 * 20 * 20, 3))

    def grey():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 2))
        net.input_size, net.classes = (1, 28, 28), ["zero", "one"]
        return net
"""


@pytest.fixture
def write(chdir):
    """Write ``my_model.py`` in the current folder."""

    def write(code, name="my_model.py"):
        Path(name).write_text(textwrap.dedent(code), encoding="utf-8")

    write(NET)
    return write


def weights(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) / 9 for name, shape in shapes}


def test_a_model_of_ones_own_with_its_weights_classes_and_size(run, signs, write, tmp_path):
    tensors = weights(0, ("1.weight", (3, 1200)), ("1.bias", (3,)))
    network = nn.Sequential(nn.Flatten(), nn.Linear(1200, 3))
    network[1].load_state_dict({"weight": tensors["1.weight"], "bias": tensors["1.bias"]})
    whole = {"0.mean": torch.full((3, 1, 1), 0.5), "0.std": torch.full((3, 1, 1), 0.25)}
    save_file(whole | {name.replace("1.", "2."): value for name, value in tensors.items()}, "w.safetensors")
    words = ("attack", signs[0], "--model", "my_model.py:make", "--weights", "w.safetensors", "--size", "20")
    status, out, err = run(*words, "--classes", "cat,dog,cow")
    photo = torch.nn.functional.interpolate(load_photo(signs[0]), (20, 20), mode="bilinear", antialias=True)
    expected = ["cat", "dog", "cow"][int(network((photo * 255).round() / 255 * 4 - 2).argmax())]
    assert status == 0 and err.startswith(f"{signs[0]}: read as {expected} (") and "before any attack" in err
    assert out.splitlines()[1].split()[1] == expected and "results are, 20×20" in out
    assert load_photo(tmp_path / "out/0-adversarial.png").shape == (1, 3, 20, 20)
    Path("names.txt").write_text("cat\ndog\n\ncow\n")
    assert f"read as {expected}" in run(*words, "--classes", "names.txt")[2]
    assert "read as class " in run(*words)[2]


def test_attributes_say_the_same_and_grey_is_understood(run, signs, write, tmp_path):
    status, out, err = run("attack", signs[0], "--model", "my_model.py:grey", "--target", "zero", "--eps", "0.4")
    if "read as 'zero' already" in err:
        status, out, err = run("attack", signs[0], "--model", "my_model.py:grey", "--target", "one", "--eps", "0.4")
    assert status == 0 and "1 of 1 read as" in out
    assert (tmp_path / "out/0-figure.png").is_file()


def test_weights_from_before_normalize_was_put_in_front(write):
    write(
        """
        from torch import nn
        from advlib.models import Normalize
        def make():
            return nn.Sequential(Normalize([0.5], [0.25]), nn.Sequential(nn.Flatten(), nn.Linear(256, 2)))
        """
    )
    tensors = weights(1, ("1.weight", (2, 256)), ("1.bias", (2,)))
    save_file(tensors, "w.safetensors")
    loaded = own_model.load("my_model.py:make", "w.safetensors", None, 16, "cpu")
    assert torch.equal(loaded[1][1].weight, tensors["1.weight"])
    save_file({"weight": torch.zeros(2, 256)}, "w.safetensors")
    with pytest.raises(ValueError, match="does not fit the network: .*or of the one behind its Normalize"):
        own_model.load("my_model.py:make", "w.safetensors", None, 16, "cpu")


# -- every mistake ---------------------------------------------------------------------------------------------------

LINEAR = "nn.Sequential(nn.Flatten(), nn.Linear(3 * 20 * 20, 3))"


@pytest.mark.parametrize(
    "code, options, words",
    [
        (None, ["nowhere.py:make"], "nowhere.py: there is no such file; --model takes FILE.py:FUNCTION"),
        ("def make(: pass", [], "my_model.py cannot be imported: SyntaxError"),
        (
            "import no_such_package",
            [],
            "cannot be imported: ModuleNotFoundError: No module named 'no_such_package' (line 1)",
        ),
        ("\n\nraise SystemExit('usage: …')", [], "cannot be imported: SystemExit: usage: … (line 3)"),
        (
            "def make(): pass",
            ["my_model.py"],
            "say which function returns the model, as in --model my_model.py:make (it has make)",
        ),
        ("x = 3", ["my_model.py"], "(it has none yet)"),
        (
            "def make_net(): pass\ndef other(): pass",
            ["my_model.py:make_nte"],
            "unknown function 'make_nte': did you mean 'make_net'?",
        ),
        ("make = 3", [], "my_model.py:make is a int; expected a function that returns a torch.nn.Module"),
        (
            "def make(classes): pass",
            [],
            "wants arguments (missing a required argument: 'classes'); expected a function of none",
        ),
        ("def make():\n    return 1 / 0", [], "my_model.py:make failed: ZeroDivisionError: division by zero (line 2)"),
        (
            f"def make(): {LINEAR}",
            [],
            "returned nothing; expected a torch.nn.Module that maps pixels in [0, 1] to logits. Is there a return?",
        ),
        ("def make(): return nn.Linear", [], "returned a type; expected a torch.nn.Module"),
        (
            f"def make(): return {LINEAR}",
            [],
            "it has no .input_size; expected the side of the square pictures that it takes, 16 or more. Say --size 32",
        ),
        (
            f"def make():\n    net = {LINEAR}\n    net.input_size = (3, 20, 30)\n    return net",
            [],
            "its picture size is (3, 20, 30); expected the side",
        ),
        (f"def make(): return {LINEAR}", ["--size", "8"], "its picture size is 8; expected"),
        (f"def make(): return {LINEAR}", ["--size", "32"], "takes no picture of 32×32, neither in colour ("),
        (f"def make(): return nn.Sequential({LINEAR}, nn.Softmax(1))", ["--size", "20"], "returned probabilities"),
        (
            f"def make(): return nn.Sequential({LINEAR}, nn.Flatten(0))",
            ["--size", "20"],
            "returned shape (3,) for 1 images",
        ),
        (
            "class Net(nn.Module):\n    def forward(self, x): return x.mean(), x\ndef make(): return Net()",
            ["--size", "20"],
            "the model returned a tuple; expected a tensor of logits",
        ),
        (
            f"def make(): return {LINEAR}",
            ["--size", "20", "--classes", "cat,dog"],
            "--classes has 2 names; the model gives 3 logits",
        ),
        (
            f"def make():\n    net = {LINEAR}\n    net.classes = 'ab'\n    return net",
            ["--size", "20"],
            ".classes has 2 names; the model gives 3",
        ),
        (f"def make(): return {LINEAR}", ["--weights", "gone.safetensors"], "gone.safetensors: there is no such file"),
        (
            f"def make(): return {LINEAR}",
            ["--weights", "my_model.py"],
            "my_model.py is no safetensors file, or is damaged",
        ),
        (
            f"def make(): return {LINEAR}",
            ["--weights", "w.pth"],
            "w.pth is a pickle, which may run anything when it is opened; expected a .safetensors file. Convert",
        ),
        (
            f"def make(): return {LINEAR}",
            ["--weights", "other.safetensors"],
            "does not fit the network: Error(s) in loading state_dict",
        ),
    ],
)
def test_each_mistake_says_what_came_what_was_expected_and_what_to_do(
    run, signs, write, tmp_path, code, options, words
):
    save_file({"a": torch.zeros(2)}, "other.safetensors")
    if code is not None:
        write("from torch import nn\n" * ("nn." in code) + code)
    model = options.pop(0) if options[:1] and ".py" in options[0] else "my_model.py:make"
    status, out, err = run("attack", signs[0], "--model", model, *options)
    assert status == 2 and out == "" and err.startswith("advlib attack: ") and words in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_the_way_to_convert_weights_that_the_refusal_shows_works(write, tmp_path):
    layer = nn.Linear(4, 2)
    torch.save(layer.state_dict() | {"again": layer.weight}, "w.pt")  # tensors that share memory, too
    with pytest.raises(ValueError) as refused:
        own_model.load_weights(layer, Path("w.pt"))
    code = str(refused.value).split('python -c "')[1].rstrip('"')
    subprocess.run([sys.executable, "-c", code], check=True)
    assert torch.equal(own_model.safetensors.torch.load_file("w.safetensors")["again"], layer.weight)


def test_what_lies_beside_the_file_can_be_imported(write):
    write("SIDE = 24", "sizes_beside.py")
    write(
        """
        from torch import nn
        def make():
            import sizes_beside
            net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 2))
            net.input_size = sizes_beside.SIDE
            return net
        """
    )
    assert own_model.load("my_model.py:make", None, None, None, "cpu").preprocess(torch.rand(1, 3, 9, 9)).shape[3] == 24
