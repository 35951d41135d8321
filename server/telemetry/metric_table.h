// Every metric the server exports: the one place where a name is written down.
//
// Dashboards and alerts are written against these names; a rename is a breaking change. Names end
// in their unit; counters in _total.
#pragma once

namespace quantd {

struct MetricDef {
  const char* name;
  const char* type;    // counter, gauge, histogram
  const char* labels;  // comma-separated; "" for none
  const char* help;
};

namespace metric {

inline constexpr MetricDef kJobs = {"quantd_jobs_total", "counter", "method,outcome",
                                    "Finished jobs by method and outcome; refused ones are none."};
inline constexpr MetricDef kRejects = {"quantd_rejects_total", "counter", "reason",
                                       "Jobs refused before any work, by reason."};
inline constexpr MetricDef kWeightOutcomes = {
    "quantd_weight_outcomes_total", "counter", "outcome,reason",
    "Weights of finished jobs by outcome and kind of reason."};
inline constexpr MetricDef kBytesReceived = {"quantd_bytes_received_total", "counter", "method",
                                             "Tensor bytes received in finished jobs."};
inline constexpr MetricDef kBytesSent = {"quantd_bytes_sent_total", "counter", "method",
                                         "Tensor bytes sent in finished jobs."};
inline constexpr MetricDef kWeightsQuantized = {"quantd_weights_quantized_total", "counter",
                                                "method",
                                                "Weight elements of jobs that succeeded."};
inline constexpr MetricDef kPredictedWork = {
    "quantd_predicted_work_seconds_total", "counter", "method",
    "Work that the cost model predicted for jobs that succeeded; not of those taken up midway."};
inline constexpr MetricDef kWork = {
    "quantd_work_seconds_total", "counter", "method",
    "Time that the same jobs took to prepare, solve and measure, beside others in the pool."};
inline constexpr MetricDef kQueueJobs = {"quantd_queue_jobs", "gauge", "",
                                         "Jobs waiting for memory."};
inline constexpr MetricDef kQueueBytes = {"quantd_queue_bytes", "gauge", "",
                                          "Predicted peak bytes of the waiting jobs."};
inline constexpr MetricDef kLiveJobs = {
    "quantd_live_jobs", "gauge", "stage",
    "Jobs that are queued for memory, uploading, waiting for a worker, running or sending."};
inline constexpr MetricDef kBacklog = {
    "quantd_backlog_seconds", "gauge", "stage",
    "Predicted work not done yet, of the jobs in each stage, in time of the whole pool."};
inline constexpr MetricDef kOldestStall = {
    "quantd_oldest_stalled_stream_seconds", "gauge", "",
    "Longest time that a stream has waited for its client to send or to read; 0 when none waits."};
inline constexpr MetricDef kQueueWait = {"quantd_queue_wait_seconds", "histogram", "",
                                         "Time a job waited for memory and a worker."};
inline constexpr MetricDef kStageSeconds = {"quantd_stage_seconds", "histogram", "stage",
                                            "Time a job spent per stage."};
inline constexpr MetricDef kSqnr = {
    "quantd_sqnr_db", "histogram", "method,bits",
    "Signal to quantization noise ratio per weight, on the packed bytes, by code bits."};
inline constexpr MetricDef kOutputError = {"quantd_output_relative_error", "histogram",
                                           "method,bits",
                                           "tr(D H D^T) / tr(W H W^T) per weight, by code bits."};
inline constexpr MetricDef kPoolBusy = {"quantd_pool_busy_threads", "gauge", "",
                                        "Worker threads that run something."};
inline constexpr MetricDef kPoolBusySeconds = {
    "quantd_pool_busy_seconds_total", "counter", "",
    "Time that worker threads ran something, summed over the threads."};
inline constexpr MetricDef kPoolThreads = {"quantd_pool_threads", "gauge", "", "Worker threads."};
inline constexpr MetricDef kBudget = {"quantd_budget_bytes", "gauge", "",
                                      "Bytes that admitted jobs may use together."};
inline constexpr MetricDef kBudgetReserved = {"quantd_budget_reserved_bytes", "gauge", "",
                                              "Bytes reserved by admitted jobs."};
inline constexpr MetricDef kMemoryLimit = {
    "quantd_memory_limit_bytes", "gauge", "",
    "Memory that the container or the machine allows; 0 when unknown."};
inline constexpr MetricDef kResidentMemory = {"quantd_process_resident_memory_bytes", "gauge", "",
                                              "Resident set size of the process."};
inline constexpr MetricDef kDraining = {"quantd_draining", "gauge", "",
                                        "1 once the server takes no new jobs."};
inline constexpr MetricDef kCertificateExpiry = {
    "quantd_tls_certificate_expiry_timestamp_seconds", "gauge", "",
    "When the server's certificate ends, seconds since the epoch; only with TLS."};
inline constexpr MetricDef kBuildInfo = {"quantd_build_info", "gauge", "version,revision,blas,cpu",
                                         "Always 1; what runs here, as labels."};
inline constexpr MetricDef kStartTime = {"quantd_process_start_time_seconds", "gauge", "",
                                         "Start of the process, seconds since the epoch."};
inline constexpr MetricDef kLogDropped = {"quantd_log_lines_dropped_total", "counter", "",
                                          "Log lines dropped because stderr was not drained."};

}  // namespace metric
}  // namespace quantd
