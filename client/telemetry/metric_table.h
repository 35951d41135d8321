// Every metric that quantctl exports of its own run: the one place where a name is written down.
//
// Dashboards and alerts are written against these names; a rename is a breaking change.
#pragma once

namespace quantd::client {

struct MetricDef {
  const char* name;
  const char* type;    // gauge or counter
  const char* labels;  // comma-separated
  const char* help;
};

namespace metric {

inline constexpr MetricDef kLayers = {
    "quantctl_layers", "gauge", "model,state",
    "Layers by state: waiting, running, done, degraded, rejected or failed; together all layers of "
    "the run."};
inline constexpr MetricDef kWeights = {"quantctl_weights", "gauge", "model",
                                       "Weight elements of all layers of the run."};
inline constexpr MetricDef kWeightsDone = {"quantctl_weights_done", "gauge", "model",
                                           "Weight elements of the layers that were delivered."};
inline constexpr MetricDef kStartTime = {"quantctl_run_start_time_seconds", "gauge", "model",
                                         "Start of the run, seconds since the epoch."};
inline constexpr MetricDef kEta = {
    "quantctl_eta_seconds", "gauge", "model",
    "Seconds until the last layer is expected; absent while there is no telling."};
inline constexpr MetricDef kRetries = {"quantctl_retries_total", "counter", "model",
                                       "Requests that were sent again."};
inline constexpr MetricDef kOutputError = {
    "quantctl_layer_output_relative_error", "gauge", "model,layer",
    "tr(D H D^T) / tr(W H W^T) of a layer, with H only; the 50 worst delivered layers."};
inline constexpr MetricDef kWeightError = {
    "quantctl_layer_weight_relative_error", "gauge", "model,layer",
    "Sum D^2 / sum W^2 of a layer; the 50 worst delivered layers."};
inline constexpr MetricDef kLayerBits = {
    "quantctl_layer_bits_per_weight", "gauge", "model,layer",
    "Every byte delivered for a layer x 8 / its elements; the 50 worst delivered layers."};

}  // namespace metric
}  // namespace quantd::client
