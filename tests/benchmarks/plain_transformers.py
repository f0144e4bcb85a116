"""The baseline: transformers as a user runs it, one padded row per option, logits for every position."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.questions import Question


@torch.inference_mode()
def option_likelihoods(base: BaseModel, questions: Sequence[Question], batch_tokens: int) -> list[list[float]]:
    """Return each option's mean log-likelihood after its question; rows are sorted by length and batched by budget."""
    tokenizer = base.tokenizer
    rows: list[tuple[int, int, list[int], int]] = []
    for index, question in enumerate(questions):
        prompt = f"Question: {question.text}\nAnswer:"
        start = len(tokenizer(prompt).input_ids)
        for option, text in enumerate(question.options):
            rows.append((index, option, tokenizer(f"{prompt} {text}").input_ids, start))
    rows.sort(key=lambda row: len(row[2]))
    scores = [[0.0] * len(question.options) for question in questions]
    while rows:
        count = 1
        while count < len(rows) and (count + 1) * len(rows[count][2]) <= batch_tokens:
            count += 1
        batch, rows = rows[:count], rows[count:]
        padded = tokenizer.pad({"input_ids": [row[2] for row in batch]}, return_tensors="pt")
        logits = base.model(**padded).logits.float().log_softmax(dim=-1)
        for line, (index, option, tokens, start) in enumerate(batch):
            targets = torch.tensor(tokens[start:])
            scores[index][option] = logits[line, start - 1 : len(tokens) - 1].gather(1, targets[:, None]).mean().item()
    return scores
