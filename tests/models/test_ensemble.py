"""Networks that are trained side by side: what each learns from, and what all of them say."""

import pytest
import torch

import convarium.models as models

SMALL = {
    "inception_time": {"filters": 3, "kernel_sizes": [4, 2]},
    "fcn": {"channels": [3, 5, 4], "kernel_sizes": [4, 3, 2]},
}
both = pytest.mark.parametrize("name", SMALL)


def ensemble(name, **options):
    torch.manual_seed(0)
    return models.create(
        name, **({"members": 3, "num_classes": 4} | SMALL[name] | options)
    ).double()


def member(model, m):
    """One member of an ensemble as a network of its own."""
    config = model.config | {"members": 1}
    alone = type(model)(**config).double().train(model.training)
    state = {}
    for name, tensor in model.state_dict().items():
        stage, _, rest = name.partition(".")
        if stage.startswith("stage") and rest.startswith(f"{m}."):
            state[f"{stage}.0{rest[1:]}"] = tensor
    state["head.weight"] = model.head.weight.unflatten(1, (model.config["members"], -1))[:, m]
    state["head.bias"] = model.head.bias
    alone.load_state_dict(state)
    return alone


@both
def test_the_ensemble_averages_the_probabilities_of_its_members(name):
    model = ensemble(name).eval()
    x = model.example_input(5, 20)
    found = model(x).exp()
    each = torch.stack([member(model, m)(x).softmax(1) for m in range(3)])
    torch.testing.assert_close(found, each.mean(0))
    embedded = torch.cat([member(model, m).embed(x) for m in range(3)], 1)
    torch.testing.assert_close(model.embed(x), embedded)
    values = ensemble(name, average="outputs").eval()
    each = torch.stack([member(values, m)(x) for m in range(3)])
    torch.testing.assert_close(values(x), each.mean(0))
    one = ensemble(name, num_classes=1).eval()
    each = torch.stack([member(one, m)(x) for m in range(3)])
    torch.testing.assert_close(one(x), each.mean(0))


@both
@pytest.mark.parametrize(("rows", "turn"), [(2, 0), (2, 5), (7, 0), (7, 1)])
@pytest.mark.parametrize("lengths", [None, [3, 20, 12, 9, 20, 17, 5]])
def test_in_training_each_row_is_its_members_alone(name, rows, turn, lengths):
    model = ensemble(name).train()
    order = [(turn + i) % 3 for i in range(min(3, rows))]
    x = model.example_input(rows, 20)
    mask = None if lengths is None else torch.arange(20) < torch.tensor(lengths[:rows])[:, None]
    alone = [member(model, m) for m in order]
    y = model(x, mask, turn=turn)
    for i, one in enumerate(alone):
        expected = one(x[i::3], None if mask is None else mask[i::3])
        torch.testing.assert_close(y[i::3], expected)
    y[0::3].square().sum().backward()
    for m in order[1:]:
        gradients = [p.grad for p in model.stage1[m].parameters()]
        assert not any(g is not None and g.any() for g in gradients)
