// Every metric the server exports: the one place where a name is written down.
//
// Dashboards and alerts are written against these names; a rename is a breaking change.
#pragma once

namespace quantd {

struct MetricDef {
  const char* name;
  const char* help;
};

namespace metric {

inline constexpr MetricDef kJobs = {"quantd_jobs_total", "Finished jobs by method and outcome."};
inline constexpr MetricDef kRejects = {"quantd_rejects_total",
                                       "Jobs refused before any work, by reason."};
inline constexpr MetricDef kBytesReceived = {"quantd_bytes_received_total",
                                             "Tensor bytes received in finished jobs."};
inline constexpr MetricDef kBytesSent = {"quantd_bytes_sent_total",
                                         "Tensor bytes sent in finished jobs."};
inline constexpr MetricDef kWeightsQuantized = {"quantd_weights_quantized_total",
                                                "Weight elements of jobs that succeeded."};
inline constexpr MetricDef kQueueJobs = {"quantd_queue_jobs", "Jobs waiting for memory."};
inline constexpr MetricDef kQueueBytes = {"quantd_queue_bytes",
                                          "Predicted peak bytes of the waiting jobs."};
inline constexpr MetricDef kQueueWait = {"quantd_queue_wait_seconds",
                                         "Time a job waited for memory and a worker."};
inline constexpr MetricDef kStageSeconds = {"quantd_stage_seconds", "Time a job spent per stage."};
inline constexpr MetricDef kSqnr = {
    "quantd_sqnr_db", "Signal to quantization noise ratio per weight, on the packed bytes."};
inline constexpr MetricDef kOutputError = {"quantd_output_relative_error",
                                           "tr(D H D^T) / tr(W H W^T) per weight."};
inline constexpr MetricDef kPoolBusy = {"quantd_pool_busy_threads",
                                        "Worker threads that run something."};
inline constexpr MetricDef kPoolThreads = {"quantd_pool_threads", "Worker threads."};
inline constexpr MetricDef kBudget = {"quantd_budget_bytes",
                                      "Bytes that admitted jobs may use together."};
inline constexpr MetricDef kBudgetReserved = {"quantd_budget_reserved_bytes",
                                              "Bytes reserved by admitted jobs."};
inline constexpr MetricDef kBuildInfo = {"quantd_build_info",
                                         "Always 1; version, BLAS and CPU as labels."};
inline constexpr MetricDef kResidentMemory = {"quantd_process_resident_memory_bytes",
                                              "Resident set size of the process."};
inline constexpr MetricDef kStartTime = {"quantd_process_start_time_seconds",
                                         "Start of the process, seconds since the epoch."};
inline constexpr MetricDef kLogDropped = {"quantd_log_lines_dropped_total",
                                          "Log lines dropped because stderr was not drained."};

}  // namespace metric
}  // namespace quantd
