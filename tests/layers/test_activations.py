from typing import get_args

import pytest

from convarium.errors import OptionError
from convarium.layers import Activation, make_activation


@pytest.mark.parametrize("name", get_args(Activation))
def test_every_name_makes_its_own_class(name):
    assert type(make_activation(name)).__name__.lower() == name.replace("_", "")


def test_an_unknown_name_lists_all():
    with pytest.raises(OptionError, match=r"'rellu'.* relu, relu6, .*Did you mean 'relu'"):
        make_activation("rellu")
