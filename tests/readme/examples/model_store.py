"""model_store/README.md."""

from __future__ import annotations

from tests.readme.pages import MODEL_STORE_PAGE

PAGE = MODEL_STORE_PAGE

(LAYOUT,) = PAGE.code("Layout", "text")
