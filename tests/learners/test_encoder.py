"""Tables become matrices the same way when learning and when scoring."""

from __future__ import annotations

import decimal
import json

import numpy as np
import pandas as pd
import pytest

from uplift.errors import InputError
from uplift.learners import FrameEncoder
from uplift.learners._encoder import MAX_LEVELS


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "orders": [1, 2, 3, 4],
            "spend": [1.5, np.nan, 3.0, 0.0],
            "vip": [True, False, True, True],
            "city": pd.Categorical(["b", "a", None, "b"], categories=["b", "a", "unused"]),
            "channel": ["web", "store", "web", None],
            "visits": pd.array([1, None, 3, 4], dtype="Int64"),
        }
    )


def test_kinds_codes_and_missing_values():
    encoder = FrameEncoder.learn(table())
    matrix = encoder.transform(table())
    assert encoder.names == ("orders", "spend", "vip", "city", "channel", "visits")
    assert encoder.categorical == [3, 4]
    assert encoder.columns[3].levels == ("a", "b")
    np.testing.assert_array_equal(
        matrix,
        [
            [1, 1.5, 1, 1, 1, 1],
            [2, np.nan, 0, 0, 0, np.nan],
            [3, 3.0, 1, np.nan, 1, 3],
            [4, 0.0, 1, 1, np.nan, 4],
        ],
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_matrix_lies_column_after_column(dtype):
    """As boosters read it; large arrays are turned a block of rows at a time."""
    X = np.random.default_rng(0).normal(size=(40_000, 3)).astype(dtype)
    X[7, 1] = np.nan
    for given in (X, X[::2], np.asfortranarray(X), pd.DataFrame(X, columns=list("abc"))):
        matrix = FrameEncoder.learn(given).transform(given)
        assert matrix.flags.f_contiguous
        assert matrix.dtype == np.float32
        np.testing.assert_array_equal(matrix, np.asarray(given).astype(np.float32))


def test_order_of_columns_and_extra_columns_do_not_matter():
    encoder = FrameEncoder.learn(table())
    other = table()[["visits", "channel", "city", "vip", "spend", "orders"]].assign(extra="x")
    np.testing.assert_array_equal(encoder.transform(other), encoder.transform(table()))


def test_unseen_category_is_missing_and_the_order_of_categories_does_not_matter():
    encoder = FrameEncoder.learn(table())
    new = table().assign(city=pd.Categorical(["z", "a", "b", None], categories=["z", "a", "b"]), channel=["app"] * 4)
    matrix = encoder.transform(new)
    np.testing.assert_array_equal(matrix[:, 3], [np.nan, 0, 1, np.nan])
    assert np.isnan(matrix[:, 4]).all()


def test_category_of_numbers_is_the_same_as_integer_float_and_text():
    encoder = FrameEncoder.learn(pd.DataFrame({"tier": pd.Categorical([1, 2, 3])}))
    for values in ([3, 1], [3.0, 1.0], ["3", "1"], pd.Categorical([3.0, 1.0])):
        assert encoder.transform(pd.DataFrame({"tier": values})).ravel().tolist() == [2.0, 0.0]


def test_numbers_kept_as_objects_decimals_and_all_missing_columns():
    frame = pd.DataFrame(
        {"a": [decimal.Decimal("1.5"), None], "b": [None, None], "c": np.array([1, 2.5], dtype=object)}
    )
    encoder = FrameEncoder.learn(frame)
    assert encoder.categorical == []
    np.testing.assert_array_equal(encoder.transform(frame), [[1.5, np.nan, 1], [np.nan, np.nan, 2.5]])


def test_only_the_most_frequent_levels_are_kept():
    names = [f"id{j:04d}" for j in range(1000)]
    encoder = FrameEncoder.learn(pd.DataFrame({"id": [*names, "id0999"]}))
    assert len(encoder.columns[0].levels) == MAX_LEVELS
    assert "id0999" in encoder.columns[0].levels
    assert "id0998" not in encoder.columns[0].levels


def test_json_round_trip():
    encoder = FrameEncoder.learn(table())
    again = FrameEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    np.testing.assert_array_equal(again.transform(table()), encoder.transform(table()))


def test_arrays_go_by_position():
    encoder = FrameEncoder.learn(np.array([[1.0, np.nan], [2.0, 3.0]]))
    assert encoder.names == ("x0", "x1")
    assert not encoder.named
    np.testing.assert_array_equal(encoder.transform([[5, 6]]), [[5, 6]])
    with pytest.raises(InputError, match="X has 1 features, but it is expecting 2"):
        encoder.transform(np.ones((3, 1)))


def test_array_of_texts():
    encoder = FrameEncoder.learn(np.array([["a", 1], ["b", 2]], dtype=object))
    assert [column.kind for column in encoder.columns] == ["category", "number"]


def test_names_given_to_one_side_only_warn():
    named, unnamed = FrameEncoder.learn(pd.DataFrame({"a": [1.0, 2.0]})), FrameEncoder.learn(np.ones((2, 1)))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        named.transform(np.ones((2, 1)))
    with pytest.warns(UserWarning, match="X has feature names"):
        unnamed.transform(pd.DataFrame({"a": [1.0]}))


def test_all_missing_columns_are_named_at_once():
    encoder = FrameEncoder.learn(table())
    with pytest.raises(InputError, match="'spend', 'vip'") as error:
        encoder.transform(table().drop(columns=["spend", "vip"]))
    assert "needs them all" in str(error.value)


def test_everything_that_is_wrong_is_listed_at_once():
    frame = table().assign(
        day=pd.to_datetime(["2026-01-01"] * 4), mixed=["a", 1, None, 2.0], endless=[1.0, np.inf, -np.inf, 0.0]
    )
    with pytest.raises(InputError) as error:
        FrameEncoder.learn(frame)
    message = str(error.value)
    assert "day:" in message
    assert "days since" in message
    assert "mixed:" in message
    assert "endless: 2 rows are infinite" in message


def test_text_where_a_number_was_learned():
    encoder = FrameEncoder.learn(table())
    with pytest.raises(InputError, match=r"spend: a number is expected, 2 rows hold something else, e.g. 'much', 'x'"):
        encoder.transform(table().assign(spend=["1", "much", "x", None]))
    matrix = encoder.transform(table().assign(spend=["1", "2.5", "0", None]))
    np.testing.assert_array_equal(matrix[:, 1], [1, 2.5, 0, np.nan])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(3), "Reshape your data"),
        (np.ones((0, 3)), r"0 sample\(s\)"),
        (np.ones((3, 0)), r"0 feature\(s\)"),
        (np.array([[1j]]), "Complex data not supported"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns of the name 'a'"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels"),
    ],
)
def test_what_is_no_table(X, message):
    with pytest.raises(InputError, match=message):
        FrameEncoder.learn(X)


def test_sparse_input_is_refused_by_name():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(InputError, match="sparse"):
        FrameEncoder.learn(sparse.csr_matrix(np.eye(3)))


def test_arrow_table():
    pa = pytest.importorskip("pyarrow")
    encoder = FrameEncoder.learn(pa.table({"a": [1, 2], "b": ["x", None]}))
    assert encoder.categorical == [1]
