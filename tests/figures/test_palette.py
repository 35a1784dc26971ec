"""Colours of classes: stable, apart, and apart for colour-blind eyes."""

import numpy as np
import pytest

from anticipate.figures.palette import BACKGROUND_GREY, class_colors

# Brettel-type simulation on cone responses (Viénot, Brettel and Mollon 1999): a different model
# from the one that the palette is made with.
RGB_TO_LMS = np.array(
    [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
)
DEUTERANOPE = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
PROTANOPE = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])


def names(count):
    return tuple(f"class_{number}" for number in range(count))


def reference_as_seen(colors, dichromat):
    linear = colors**2.2
    simulated = linear @ (np.linalg.inv(RGB_TO_LMS) @ dichromat @ RGB_TO_LMS).T
    return np.clip(simulated, 0, 1) ** (1 / 2.2)


def smallest_distance(colors):
    distances = np.linalg.norm(colors[:, None] - colors, axis=-1)
    return distances[~np.eye(len(colors), dtype=bool)].min()


def test_a_class_id_has_one_colour_in_every_vocabulary():
    np.testing.assert_array_equal(class_colors(names(202))[:19], class_colors(names(19)))
    renamed = tuple(f"other_{number}" for number in range(19))
    np.testing.assert_array_equal(class_colors(renamed), class_colors(names(19)))


def test_background_is_grey_and_shifts_no_other_colour():
    vocabulary = ("SIL", *names(3), "background")
    colors = class_colors(vocabulary)
    np.testing.assert_array_equal(colors[[0, 4]], BACKGROUND_GREY)
    np.testing.assert_array_equal(colors[1:4], class_colors(names(5))[1:4])


def test_the_caller_cannot_change_the_palette():
    class_colors(names(4))[:] = 0.0
    assert class_colors(names(4)).max() > 0.5


@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPE, PROTANOPE])
def test_colours_differ_for_every_eye_about_as_well_as_random_search_can_do(vision):
    colors = class_colors(names(12))
    rng = np.random.default_rng(0)
    tries = rng.uniform(size=(300, 12, 3))
    best = max(smallest_distance(reference_as_seen(palette, vision)) for palette in tries)
    assert smallest_distance(reference_as_seen(colors, vision)) > 0.5 * best


def test_all_classes_of_the_largest_data_set_differ():
    colors = class_colors(names(202))
    assert len(np.unique(colors, axis=0)) == 202
    assert colors.min() >= 0.0
    assert colors.max() <= 1.0
