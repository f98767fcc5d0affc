"""Several processes have what one process alone would have, to the last row."""

from pathlib import Path

import pytest
import torch
from together import together

from protect.system.processes import collected, dealt, from_first, is_first, place
from protect.system.shards import averaged, own, own_rows, whole

MADE = """
import torch
import torch.nn.functional as F
from protect.system.processes import after_first, collected, dealt, from_first, place
from protect.system.shards import as_one_batch, averaged, own, own_rows, whole

draws = torch.Generator().manual_seed(0)
result = {}
"""

NORMALISED = """
for shape, momentum in (((7, 3, 4, 5), 0.1), ((5, 3), 0.3)):
    x = torch.randn(shape, generator=draws) * 3 + 5
    slope = torch.randn(shape, generator=draws)
    x.requires_grad_()
    weight = torch.randn(3, generator=draws).requires_grad_()
    bias = torch.randn(3, generator=draws).requires_grad_()
    mean, var = torch.zeros(3), torch.ones(3)
    with as_one_batch():
        rows = F.batch_norm(own(x), mean, var, weight, bias, True, momentum, 1e-3)
        still = F.batch_norm(own(x), mean, var, weight, bias, False, momentum, 1e-3)
    y = whole(rows, len(x))
    slopes = torch.autograd.grad((y * y * slope).sum(), [x, weight, bias])
    result[len(shape)] = y.detach(), mean, var, *averaged(slopes), whole(still, len(x)).detach()
"""


def of(tmp_path: Path, code: str, count: int) -> dict:
    file = tmp_path / f"{count}.pt"
    save = "\nif place().rank == place().count - 1:\n    torch.save(result, sys.argv[1])"
    together(MADE + code + save, count, file)
    return torch.load(file, weights_only=True)


def test_batch_norm_goes_by_the_whole_batch_whatever_the_share(tmp_path):
    """Values, gradients and running statistics; 7 and 5 rows over 3 processes are uneven."""
    alone, three = (of(tmp_path, NORMALISED, count) for count in (1, 3))
    for key in alone:
        for one, other in zip(alone[key], three[key], strict=True):
            assert torch.allclose(one, other, atol=2e-5, rtol=1e-5)


ENGINE = """
from bait.test_engine import make_engine
from protect.config.choices import Binding
from protect.config.settings import Effort

for binding in Binding:
    engine = make_engine(
        binding=binding,
        anchor=1,
        effort=Effort(rounds=3, outer_steps=6, batch_size=7, inner_lr=0.1, outer_lr=0.1),
    )
    done = [engine.advance() for _ in range(3)]
    result[binding.value] = {
        "patterns": engine.patterns.weight.detach(),
        "counts": engine.target_counts,
        "losses": torch.tensor([[d.inner_loss, d.outer_loss, d.bound] for d in done]),
        **engine.surrogate.state_dict(),
    }
"""


def test_the_noise_of_several_processes_is_that_of_one(tmp_path):
    """Through 18 outer steps in each way of binding, of batches of 7 pictures in shares of 3 and 4.

    Its tanh-space values lie within 1 or so, and move by 0.1 a step; Adam makes rounding larger.
    """
    alone, two = (of(tmp_path, ENGINE, count) for count in (1, 2))
    for binding in alone:
        for name, value in alone[binding].items():
            if value.is_floating_point():
                assert torch.allclose(value, two[binding][name], atol=5e-4), (binding, name)
            else:
                assert torch.equal(value, two[binding][name]), (binding, name)


SEARCHED = """
from bait.test_start import patterns, search
from protect.bait.harden import views_of
from protect.config.choices import Harden

table = patterns()
found = search(patterns=table, views=views_of([Harden.JPEG]), each=9)
found.run(lambda: None)
result["start"] = table.weight.detach()
result["seen"] = found.networks[1].norm.running_mean
"""


def test_the_textures_that_several_processes_choose_are_those_of_one(tmp_path):
    """Twenty-seven pictures of three classes, so that shares are uneven."""
    alone, two = (of(tmp_path, SEARCHED, count) for count in (1, 2))
    assert torch.equal(alone["start"], two["start"])
    assert torch.allclose(alone["seen"], two["seen"], atol=1e-4)


SHARED = """
here = place()
result["made"] = from_first(lambda: [here.rank, "made"])
order = []
after_first(lambda: order.append(here.rank))
result["order"] = order
result["cards"] = collected([10 * card for card in dealt(range(8))])
result["few"] = collected([10 * card for card in dealt(range(2))])
if here.rank == 0:
    torch.save(result, sys.argv[1] + ".first")
"""


def test_the_first_decides_and_what_was_dealt_is_collected_in_order(tmp_path):
    last = of(tmp_path, SHARED, 3)
    first = torch.load(tmp_path / "3.pt.first", weights_only=True)
    assert last["made"] == first["made"] == [0, "made"]
    assert (first["order"], last["order"]) == ([0], [2])
    assert first["cards"] == [10 * card for card in range(8)]
    assert first["few"] == [0, 10]
    assert last["cards"] == [20, 50]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [7, 8, 64])
def test_every_row_belongs_to_one_process(monkeypatch, count, rows):
    batch = torch.arange(rows)
    parts = []
    for rank in range(count):
        as_process(monkeypatch, rank, count)
        parts.append(own(batch))
        assert torch.equal(batch[own_rows(rows)], parts[-1])
    assert torch.equal(torch.cat(parts), batch)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def as_process(monkeypatch: pytest.MonkeyPatch, rank: int, count: int) -> None:
    for name, value in {
        "RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_RANK": rank,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 1,
    }.items():
        monkeypatch.setenv(name, str(value))


def test_a_process_alone_gets_back_what_it_gave(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")  # as some schedulers set it, without the rest
    rows = torch.randn(4, 2)
    assert (place().count, is_first()) == (1, True)
    assert whole(rows, 4) is rows
    assert averaged([rows, None])[0] is rows
    assert from_first(lambda: "made") == "made"
    assert collected(dealt("abc")) == ["a", "b", "c"]
