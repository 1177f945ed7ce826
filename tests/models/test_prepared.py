import copy
import pickle

import torch
from torch import nn

from convarium.models.prepared import Prepared


def test_it_holds_until_a_weight_or_buffer_is_written_or_replaced():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    kept = Prepared(network, "value")
    assert kept.holds(network)
    network(torch.randn(4, 2))  # moves the averages
    assert not kept.holds(network)
    kept = Prepared(network, "value")
    network.load_state_dict(network.state_dict())
    assert not kept.holds(network)
    kept = Prepared(network, "value")
    network[0].weight = nn.Parameter(torch.zeros(2, 2))
    assert not kept.holds(network)
    assert Prepared(network, "value").holds(network)


def test_a_copy_of_a_network_does_not_take_its_originals_word():
    network = nn.Sequential(nn.Linear(2, 2))
    network.kept = Prepared(network, "value")
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin[0].weight.mul_(2)
    assert not twin.kept.holds(twin)
    assert network.kept.holds(network)
    assert not network.kept.holds(twin)


def test_weights_that_do_not_tell_of_changes_are_never_trusted():
    with torch.inference_mode():
        network = nn.Linear(2, 2)
        kept = Prepared(network, "value")
    assert not kept.holds(network)


def test_a_replaced_module_or_any_replaced_tensor_is_seen():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    kept = Prepared(network, "value")
    network[1][0].bias = nn.Parameter(network[1][0].bias.detach().clone())
    assert not kept.holds(network)
    kept = Prepared(network, "value")
    network[1][0] = nn.Linear(2, 2)
    assert not kept.holds(network)


def test_a_copy_and_what_is_unpickled_hold_nothing():
    network = nn.Sequential(nn.Linear(2, 2))
    state = network.state_dict()
    network.load_state_dict(state)
    network.kept = Prepared(network, "value")
    twin, again = copy.deepcopy(network), pickle.loads(pickle.dumps(network))
    for other in (twin, again):
        assert not other.kept.holds(other)
        other.load_state_dict(state)  # as often as the original
        assert not other.kept.holds(other)
    assert network.kept.holds(network)
