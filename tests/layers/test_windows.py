import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convarium.layers import Windows
from convarium.layers.windows import whole_windows


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4), size=st.integers(1, 6))
def test_windows_count_where_all_tokens_are_real_and_the_first_always(lengths, size):
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    before = (size - 1) // 2
    found = whole_windows(mask, size)
    for row, length in enumerate(lengths):
        starts = [at for at in range(9 - size + 1) if at + size <= length] or [0]
        assert found[row].nonzero().flatten().tolist() == [at + before for at in starts]


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(0, 8), min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    normed=st.booleans(),
)
def test_tables_give_the_maximum_of_the_maps(lengths, sizes, normed):
    torch.manual_seed(0)
    windows = Windows(3, 4, sizes, normed=normed).double().eval()
    for norm in windows.norms:
        torch.nn.init.uniform_(norm.running_mean, -1, 1)
        torch.nn.init.uniform_(norm.weight, -2, 2)
    vectors = torch.randn(7, 3, dtype=torch.float64)
    vectors[0] = 0
    mask = torch.arange(8) < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, 7, (len(lengths), 8)) * mask
    expected = windows(vectors[ids].transpose(1, 2), mask).amax(2)
    tables = windows.tables(vectors)
    found = torch.cat([table.largest(ids, mask) for table in tables], 1)
    torch.testing.assert_close(found, expected)
    assert [table.rows.shape for table in tables] == [(7 * size, 4) for size in sizes]
