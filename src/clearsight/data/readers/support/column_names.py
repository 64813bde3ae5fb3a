"""Usual names of columns, the most telling first: of several that are there, the first is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_file_path"),
    *("image_file", "image_filename", "image_name", "img", "img_path", "img_file", "img_name", "picture", "photo"),
    *("relative_path", "rel_path", "full_path", "location", "fname", "image_file_name", "images", "filenames", "files"),
    *("image_id", "img_id", "image_index", "image_uri", "uri", "gcs_uri", "image_url", "url", "isic_id", "photo_id"),
    *("id_code", "file_id", "id", "uuid"),
)
LABELS = (
    *("label", "labels", "class", "class_name", "classname", "class_label", "label_name"),
    *("target", "category", "category_name", "y"),
)
SPLITS = (
    *(
        "split",
        "set",
        "subset",
        "partition",
        "phase",
        "usage",
        "fold",
        "kfold",
        "dataset_split",
        "data_split",
        "split_name",
    ),
    *(
        "data_set",
        "dataset",
        "split_set",
        "stage",
        "ml_use",
        "train_val_test",
        "train_test",
        "train_test_split",
        "split_type",
        "train_or_test",
    ),
    *("is_valid", "is_val", "is_validation", "valid", "validation", "val", "is_test", "test"),
    *("is_train", "is_training", "is_training_image", "train", "training"),
)
# Images with one value here are of one patient, animal or recording: in two splits they make scores too good.
GROUPS = (
    *("patient_id", "patient", "subject_id", "subject", "case_id", "case", "participant_id", "participant"),
    *("person_id", "person", "individual_id", "individual", "animal_id", "donor_id", "lesion_id", "study_id"),
    *("group_id", "group", "video_id", "video", "sequence_id", "scene_id", "slide_id", "location_id"),
)


def usual(names: Sequence[str], spellings: Iterable[str]) -> list[str]:
    """Return the names that are one of `spellings` but for case, blanks, hyphens and underscores, in that order."""
    plain = {_plain(name): name for name in reversed(names)}
    return [plain[_plain(spelling)] for spelling in spellings if _plain(spelling) in plain]


def is_index(name: str) -> bool:
    """Return True for a column of row numbers, as pandas and R write it."""
    return re.fullmatch(r"|unnamed: \d+|__index_level_\d__|row|row_?names|#", name.strip().lower()) is not None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())
