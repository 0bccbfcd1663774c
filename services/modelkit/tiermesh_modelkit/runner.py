"""Runs an ONNX graph over texts: tokenise, plan runs of bounded size, pad, fetch one output."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from tiermesh_modelkit.errors import ManifestInvalid

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """One text as the model reads it."""

    ids: IntArray
    tokens_count: int

    @property
    def tokens_read(self) -> int:
        return len(self.ids)

    @property
    def truncated(self) -> bool:
        return self.tokens_read < self.tokens_count


class GraphRunner:
    """Blocking and safe to share between threads.

    run_tokens_max bounds the padded tokens of one run, and with it the memory; threads the cores of one run.
    Raises ManifestInvalid if the tokenizer or the graph cannot be opened.
    """

    def __init__(
        self,
        model_bytes: bytes,
        tokenizer_bytes: bytes,
        *,
        input_tokens_max: int,
        run_tokens_max: int,
        special_tokens: bool,
        threads: int,
    ) -> None:
        self._tokenizer = _open_tokenizer(tokenizer_bytes)
        self._session = _open_session(model_bytes, threads)
        self._input_tokens_max = input_tokens_max
        self._run_tokens_max = run_tokens_max
        self._special_tokens = special_tokens
        self._run_options = onnxruntime.RunOptions()
        # The router fetches scope_score alone and local-inference probabilities alone: neither pays for both.
        self._run_options.only_execute_path_to_fetches = True

    @property
    def outputs(self) -> set[str]:
        return {each.name for each in self._session.get_outputs()}

    @property
    def providers(self) -> list[str]:
        return list(self._session.get_providers())

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=self._special_tokens)
        return [Tokens(self._cut(each.ids), len(each.ids)) for each in encodings]

    def run(
        self,
        output: str,
        batch: Sequence[Tokens],
        shape: tuple[int, ...],
        on_rows: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """The output [N, *shape] of a batch of N; on_rows hears how many rows each run has done."""
        result = np.empty((len(batch), *shape), dtype=np.float32)
        for rows in plan_runs([each.tokens_read for each in batch], run_tokens_max=self._run_tokens_max):
            inputs = pad([batch[row].ids for row in rows])
            result[rows] = self._session.run([output], inputs, self._run_options)[0]
            if on_rows:
                on_rows(len(rows))
        return result

    def _cut(self, ids: list[int]) -> IntArray:
        if len(ids) > self._input_tokens_max:
            # the closing special token stays, for the model was trained with it
            tail = ids[-1:] if self._special_tokens else []
            ids = ids[: self._input_tokens_max - len(tail)] + tail
        return np.asarray(ids, dtype=np.int64)


def plan_runs(lengths: Sequence[int], *, run_tokens_max: int) -> Iterator[list[int]]:
    """Row numbers of each run: like lengths together, at most run_tokens_max padded tokens, or one row."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) + 1) * max(1, lengths[row]) > run_tokens_max:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def pad(ids: Sequence[IntArray]) -> dict[str, IntArray]:
    """input_ids and attention_mask [N, longest], at least one column."""
    width = max(1, *(len(each) for each in ids))
    input_ids = np.zeros((len(ids), width), dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for row, each in enumerate(ids):
        input_ids[row, : len(each)] = each
        attention_mask[row, : len(each)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _open_tokenizer(content: bytes) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:
        raise ManifestInvalid(f"tokenizer.json cannot be read ({error}); train the model again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _open_session(content: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Batches differ in shape: an arena and a memory pattern would keep the largest ever seen.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # Idle threads must sleep: other services share these cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    offered = onnxruntime.get_available_providers()
    wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in offered]
    try:
        return onnxruntime.InferenceSession(content, options, providers=wanted)
    except Exception as error:
        first_line = str(error).splitlines()[0]
        raise ManifestInvalid(f"model.onnx cannot be opened ({first_line}); train the model again") from None
