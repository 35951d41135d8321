#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets `assembler`, `spec` and `plan`; run from the repository root.

Needs protoc. The seeds are committed; run it again when a proto or an input format changes.
"""

import pathlib
import struct
import subprocess

CORPUS = pathlib.Path("tests/fuzz/corpus")
U8, F16, F32 = 9, 2, 1
NO_DIGEST, RIGHT_DIGEST, WRONG_DIGEST = 0, 1, 2


def decl(dtype, shape, digest=NO_DIGEST):
    head = struct.pack("<BB", dtype, len(shape) | digest << 2)
    tail = b"\x01" if digest == WRONG_DIGEST else b""
    return head + b"".join(struct.pack("<H", d) for d in shape) + tail


def wide_decl(dtype, first):
    return struct.pack("<BBQ", dtype, 0x81, first)


def chunk(tensor, size):
    return struct.pack("<BBH", 0, tensor, size)


def chunk_at(tensor, offset, size):
    return struct.pack("<BBQH", 1, tensor, offset, size)


def damaged(tensor, size):
    return struct.pack("<BBH", 2, tensor, size)


END = b"\x03"


def upload(decls, *operations):
    return bytes([len(decls)]) + b"".join(decls) + b"".join(operations)


ASSEMBLER = {
    "whole": upload([decl(U8, [8])], chunk(0, 8), END),
    "interleaved": upload(
        [decl(F32, [2, 4], RIGHT_DIGEST), decl(F16, [3], RIGHT_DIGEST)],
        chunk(0, 10), chunk(1, 1), chunk(0, 22), chunk(1, 5), END),
    "empty_tensors": upload([decl(F32, [0, 7], RIGHT_DIGEST), decl(U8, [])], chunk(1, 1), END),
    "no_tensors": upload([], END),
    "gap": upload([decl(U8, [8])], chunk(0, 4), chunk_at(0, 5, 3), END),
    "duplicate": upload([decl(U8, [8])], chunk(0, 4), chunk_at(0, 0, 4), END),
    "overrun": upload([decl(U8, [8])], chunk(0, 4), chunk(0, 5), END),
    "wrapping_offset": upload([decl(U8, [8])], chunk_at(0, 2**64 - 1, 8), END),
    "wrong_crc": upload([decl(U8, [8])], damaged(0, 8), END),
    "unknown_tensor": upload([decl(U8, [8])], chunk(1, 8), END),
    "empty_chunk": upload([decl(U8, [8])], chunk(0, 0), END),
    "missing_bytes": upload([decl(U8, [8])], chunk(0, 7), END),
    "wrong_digest": upload([decl(U8, [8], WRONG_DIGEST)], chunk(0, 8), END),
    "huge": upload([wide_decl(U8, 2**62), wide_decl(U8, 2**62)], chunk(0, 4096), chunk(1, 1), END),
    "negative": upload([wide_decl(U8, 2**63)], chunk(0, 1), END),
}

WEIGHT = 'tensors { name: "w.weight" role: ROLE_WEIGHT dtype: DTYPE_F32 shape: 8 shape: 64 }'
HESSIAN = ('tensors { name: "h" role: ROLE_HESSIAN dtype: DTYPE_F32 shape: 2080 '
           'digest: "0123456789abcdef" }')
FISHER = ('tensors { name: "f" role: ROLE_FISHER dtype: DTYPE_BF16 shape: 8 shape: 64 '
          'of: "w.weight" }')
FULL_GPTQ = """spec {
  gptq {}
  levels {
    bits: 3 symmetry: SYMMETRY_ASYMMETRIC kind: LEVEL_KIND_AFFINE_INT zero: ZERO_POINT_REAL
    format: NUMBER_FORMAT_E3M2 table: FIXED_TABLE_FP4
  }
  partition {
    granularity: GRANULARITY_GROUP group_size: 32 tail: TAIL_POLICY_SHORT_LAST_GROUP
    axis: GROUP_AXIS_OUT strided: false
  }
  fit {
    kind: FIT_KIND_SHRINK_SEARCH steps: 40 shrink_to: 0.3 norm: 2.4 iterations: 7 beta: 2
    kappa: 1.5 importance: IMPORTANCE_DIAGONAL fine_bits: 6
  }
  storage { kind: STORAGE_KIND_INT rounding: SCALE_ROUNDING_EVEN bits: 5 super_group: 32 }
  transform {
    scaling: SCALING_KIND_NONE scaling_steps: 3 scaling_alpha: 0.25 rotation: ROTATION_KIND_BOTH
    rotation_block: 16 rotation_seed: 4294967295 correction: CORRECTION_KIND_QEP
    correction_alpha: 0.75 correction_damping: 2
  }
  exceptions {
    outliers: OUTLIER_KIND_NONE share: 0.1 second_share: 0.2 column_share: 0.3 threshold: 4
    max_share: 0.5 kept_columns: 0 mask_kept: 2 mask_of: 4 recent_rows: 1
  }
  allocation { kind: ALLOCATION_KIND_UNIFORM high_bits: 5 share: 0.2 factor: 50 }
  solve {
    solver: SOLVER_GPTQ order: ORDER_ACT_ORDER timing: GROUP_TIMING_DYNAMIC
    factorization: FACTORIZATION_CHOLESKY block_columns: 64
    damping { fraction: 0 step: 2 limit: 0.5 } asymmetric: 0.5 descent_passes: 2
    fallback_descent_passes: 0
  }
}"""
FULL_AQLM = """spec {
  aqlm {}
  levels { kind: LEVEL_KIND_ADDITIVE codebooks: 4 codebook_bits: 6 out_group: 2 in_group: 16 }
  partition { granularity: GRANULARITY_GROUP group_size: 16 }
  fit {
    kind: FIT_KIND_RESIDUAL_K_MEANS iterations: 9 seeding: SEEDING_FARTHEST seed: 4294967295
    refine_rounds: 3 points_per_center: 64
  }
  storage { kind: STORAGE_KIND_TABLE bits: 3 }
  solve {
    solver: SOLVER_BEAM beam: 8 rounds: 0 tolerance: 0 update: CODEBOOK_RULE_ADAM update_steps: 50
    learning_rate: 0.001 adam: ADAM_RULE_CODE changed_share: 1
  }
}"""
GIVEN = ('tensors { name: "c" role: ROLE_CODEBOOKS dtype: DTYPE_F16 shape: 2 shape: 256 shape: 1 shape: 8 } '
         'tensors { name: "s" role: ROLE_SCALES dtype: DTYPE_F32 shape: 8 of: "w.weight" } '
         'tensors { name: "u" role: ROLE_CODES dtype: DTYPE_I8 shape: 8 shape: 8 shape: 2 } '
         'tensors { name: "k" role: ROLE_CHECKPOINT dtype: DTYPE_U8 shape: 4096 } '
         'spec { aqlm {} fit { kind: FIT_KIND_GIVEN } solve { changed_share: 0.25 } }')
REPORT = """{
  name: "w.weight" outcome: OUTCOME_DEGRADED reason: "damping 0.1" rows: 8 cols: 64
  code_bits_per_weight: 4 all_in_bits_per_weight: 4.5
  error { weight_mse: 0.1 sqnr_db: 20 cosine: 0.9 output_relative_error: 0.01 }
  rtn_baseline { weight_mse: 0.2 }
  solver { damping_fraction: 0.1 damping_retries: 1 used_descent: true dead_columns: 2 growth: 1.5 }
  seconds: 0.5 source_digest: "0123456789abcdef"
  packed { name: "w.qweight" digest: "0123456789abcdef" }
  spec { adadim_rtn {} partition { axis: GROUP_AXIS_IN } }
  candidates { name: "out" error { weight_mse: 0.2 } all_in_bits_per_weight: 4.25 }
  candidates { name: "in" error { weight_mse: 0.1 } all_in_bits_per_weight: 4.5 chosen: true }
  outlier_share: 0.01 drift_error: -0.5 notes: "2 of 64 columns kept F16"
}"""

QUANTIZE, DEQUANTIZE, RESPONSE, REQUEST, MEASURE, MEASURED = range(6)
TYPES = ["QuantizeHeader", "DequantizeHeader", "QuantizeResponse", "QuantizeRequest", "MeasureHeader",
         "MeasureResponse"]


def quantize(body):
    return QUANTIZE, f'job_id: "a" {WEIGHT} {body}'


SPEC = {
    "rtn_defaults": quantize("spec { rtn {} } layout: LAYOUT_GPTQ"),
    "gptq_defaults": quantize(f"{HESSIAN} spec {{ gptq {{}} }} layout: LAYOUT_PLAIN"),
    "gptq_full": quantize(f"{HESSIAN} {FULL_GPTQ} layout: LAYOUT_GPTQ_V2 priority: -3 "
                          "policy { on_degraded: ON_DEGRADED_REJECT } calibration_tokens: 131072"),
    "adaptive": quantize(f"{HESSIAN} spec {{ adadim_gptq {{}} partition {{ group_size: 8 }} }} "
                         "layout: LAYOUT_PLAIN"),
    "aqlm_defaults": quantize("spec { aqlm {} } layout: LAYOUT_AQLM"),
    "aqlm_full": quantize(f"{HESSIAN} {FULL_AQLM} layout: LAYOUT_PLAIN checkpoint_seconds: 60"),
    "aqlm_given": quantize(f"{GIVEN} layout: LAYOUT_AQLM"),
    "codebooks_17": quantize("spec { aqlm {} levels { codebooks: 17 } } layout: LAYOUT_AQLM"),
    "fisher_of_a_weight": quantize(f"{FISHER} spec {{ squeezellm {{}} }} layout: LAYOUT_PLAIN"),
    "block_columns_1025": quantize("spec { gptq {} solve { block_columns: 1025 } } layout: LAYOUT_GPTQ"),
    "no_method": quantize("layout: LAYOUT_GPTQ"),
    "bits_9": quantize("spec { rtn {} levels { bits: 9 } } layout: LAYOUT_GPTQ"),
    "nan_norm": quantize("spec { rtn {} fit { norm: nan } } layout: LAYOUT_GPTQ"),
    "negative_shape": quantize('tensors { name: "x" role: ROLE_WEIGHT dtype: DTYPE_F32 shape: -1 } '
                               "spec { rtn {} } layout: LAYOUT_GPTQ"),
    "duplicate_name": quantize(f"{WEIGHT} spec {{ rtn {{}} }} layout: LAYOUT_GPTQ"),
    "dequantize": (
        DEQUANTIZE,
        f'job_id: "d" weights {{ name: "w.weight" rows: 8 cols: 64 {FULL_GPTQ} }} '
        'tensors { name: "w.qweight" role: ROLE_PACKED dtype: DTYPE_I32 shape: 8 shape: 8 } '
        "layout: LAYOUT_COMPRESSED_TENSORS output_dtype: DTYPE_BF16 priority: 10"),
    "dequantize_into_i8": (DEQUANTIZE,
                           'job_id: "d" layout: LAYOUT_PLAIN output_dtype: DTYPE_I8'),
    "accepted": (RESPONSE,
                 'accepted { job_id: "a" predicted_peak_bytes: 9 predicted_seconds: 0.5 '
                 f"{FULL_GPTQ} }}"),
    "progress": (RESPONSE, "progress { phase: PHASE_SOLVING fraction: 0.5 eta_seconds: 3 }"),
    "tensor_report": (RESPONSE, f"tensor_report {REPORT}"),
    "final": (RESPONSE,
              f"final {{ outcome: OUTCOME_OK report {{ tensors {REPORT} seconds {{ total: 2 }} }} "
              'build_id: "x" }'),
    "chunk": (REQUEST, 'chunk { tensor: 1 offset: 2 data: "abc" crc32c: 4 }'),
    "end": (REQUEST, "end {}"),
    "measure": (
        MEASURE,
        f'job_id: "m" {WEIGHT} {HESSIAN} layout: LAYOUT_PLAIN priority: 3 calibration_tokens: 9 '
        "candidates { rtn {} levels { bits: 3 } } candidates { gptq {} } candidates { nvfp4 {} } "
        + FULL_GPTQ.replace("spec {", "candidates {", 1)),
    "measure_bits_9": (MEASURE, f'job_id: "m" {WEIGHT} layout: LAYOUT_PLAIN candidates {{ rtn {{}} }} '
                                "candidates { rtn {} levels { bits: 9 } }"),
    "measure_nothing": (MEASURE, f'job_id: "m" {WEIGHT} layout: LAYOUT_PLAIN'),
    "candidate_report": (MEASURED, f"candidate_report {{ candidate: 3 report {REPORT} }}"),
    "candidate_4096": (MEASURED, f"candidate_report {{ candidate: 4096 report {REPORT} }}"),
    "measured_final": (MEASURED, 'final { outcome: OUTCOME_OK report { seconds { total: 2 } } build_id: "x" }'),
}


def layer(name, parameters, *options, more=""):
    """Options are (candidate, bytes, error, block)."""
    each = " ".join(f"options {{ candidate: {c} bytes: {b} error: {e} block: {k} }}" for c, b, e, k in options)
    return f'layers {{ name: "{name}" parameters: {parameters} {more} {each} }}'


def four_layers(more=""):
    names = [("l.0.q", 4096), ("l.0.k", 1024), ("l.0.v", 1024), ("l.0.up", 12288)]
    return 'candidates: "int4" candidates: "int3" candidates: "int8" ' + " ".join(
        layer(name, n, (0, n // 2 + n // 64, 0.01 + i / 300, 128), (1, 3 * n // 8 + n // 64, 0.05 + i / 90, 128),
              (2, n + n // 32, 0.0004, 64), (-1, 2 * n, 0, 0), more=more)
        for i, (name, n) in enumerate(names))


LAW = ("law { c: 0.00103 a: 4.955 gamma_n: 0.512 gamma_b: 0.425 residual: 0.2 billions { least: 0.5 most: 7 } "
       "low_share { least: 0.3 most: 1 } block { least: 16 most: 512 } }")
SAME = "same { layers: 0 layers: 1 } same { layers: 2 layers: 1 }"

PLAN = {
    "budget": f"allocation {{ {four_layers()} max_bytes: 10000 }}",
    "budget_with_sets": f"allocation {{ {four_layers('sensitivity: 2.5')} {SAME} max_bytes: 10000 }}",
    "budget_too_small": f"allocation {{ {four_layers()} max_bytes: 100 }}",
    "error": f"allocation {{ {four_layers()} max_error: 0.02 }}",
    "error_below_all": f"allocation {{ {layer('a', 9, (-1, 18, 0.5, 0))} max_error: 0.25 }}",
    "low_share": f"allocation {{ {four_layers()} {SAME} low_share: 0.8 }}",
    "low_share_out_of_reach": f'allocation {{ candidates: "x" {layer("a", 9, (0, 5, 0.5, 3))} low_share: 0.5 }}',
    "draws": f"allocation {{ {four_layers()} low_share: 0.6 random_search {{ trials: 9 seed: 4294967295 }} }}",
    "draws_with_losses": f"allocation {{ {four_layers()} {SAME} low_share: 0.6 "
                         "random_search { trials: 3 candidate: 1 blocks { layers: 0 layers: 3 } "
                         "losses: 0.5 losses: 0.25 losses: inf } }",
    "no_sensitivity": f"allocation {{ {four_layers('sensitivity: 0')} max_bytes: 12000 }}",
    "largest_numbers": 'allocation { candidates: "x" '
                       + layer("a", 2**52, (0, 2**52, 1e308, 2**53 - 1), more="sensitivity: 1e308") + " "
                       + layer("b", 1, (0, 1, 5e-324, 1), (-1, 2, 1e308, 0), more="sensitivity: 5e-324")
                       + " max_bytes: 18446744073709551615 }",
    "largest_block": f'allocation {{ candidates: "x" {layer("a", 9, (0, 5, 0.5, 2**63 - 1))} max_bytes: 9 }}',
    "nan_error": f'allocation {{ candidates: "x" {layer("a", 9, (0, 5, "nan", 3))} max_bytes: 9 }}',
    "no_layers": "allocation { max_bytes: 1 }",
    "law_delta": f"law {{ {LAW} billions: 7 low_share: 0.9 block: 16 }}",
    "law_low_share": f"law {{ {LAW} billions: 100 block: 128 delta: 0.05 }}",
    "law_block": f"law {{ {LAW} billions: 7 low_share: 0.9 delta: 0.2 }}",
    "law_billions": f"law {{ {LAW} low_share: 0.5 block: 32 delta: 0.02 }}",
    "law_residual_1000": "law { %s billions: 7 low_share: 0 block: 16 }" % LAW.replace("0.2", "1000"),
    "law_two_gaps": f"law {{ {LAW} low_share: 0.5 }}",
}


def encoded(message, text):
    command = ["protoc", f"--encode=quantd.v1.{message}", "-Iproto",
               "quantd/v1/quantization_service.proto"]
    return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout


def encode(kind, text):
    return bytes([kind]) + encoded(TYPES[kind], text)


def write(target, seeds):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        (folder / name).write_bytes(seed)


write("assembler", ASSEMBLER)
write("spec", {name: encode(kind, text) for name, (kind, text) in SPEC.items()})
write("plan", {name: encoded("PlanRequest", text) for name, text in PLAN.items()})
