{{- define "quantd.namespace" -}}
{{ .Values.namespace.name | default .Release.Namespace }}
{{- end }}

{{- define "quantd.selector" -}}
app.kubernetes.io/name: quantd
{{- end }}

{{- define "quantd.metadata" -}}
name: quantd
namespace: {{ include "quantd.namespace" . }}
labels:
  {{- include "quantd.selector" . | nindent 2 }}
{{- end }}

{{- define "quantd.monitored" -}}
{{ include "quantd.metadata" . }}
  {{- toYaml .Values.monitoring.labels | nindent 2 }}
{{- end }}

{{- /* A number as people write it: of an integer YAML makes a float, and of that Go makes 1e+06. */}}
{{- define "quantd.number" -}}
{{ if kindIs "string" . }}{{ . }}{{ else }}{{ int64 . }}{{ end }}
{{- end }}

{{- /* Bytes of 7GiB, 8Gi, 8G or 1.5Gi. */}}
{{- define "quantd.bytes" -}}
{{- $text := include "quantd.number" . | trimSuffix "B" }}
{{- $units := dict "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "" 1 }}
{{- $unit := regexFind "[A-Za-z]*$" $text }}
{{- if not (hasKey $units $unit) }}
{{- fail (printf "%s: not a number of bytes in k, M, G, T, Ki, Mi, Gi or Ti" $text) }}
{{- end }}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit) | int64 }}
{{- end }}

{{- /* The rule of values.yaml at `resources`, which quantd itself can check no sooner than in the pod. */}}
{{- define "quantd.checkMemory" -}}
{{- $config := .Values.config }}
{{- $mib := 1048576 }}
{{- $jobs := include "quantd.number" ($config.QUANTD_MAX_QUEUED_JOBS | default 64) | int64 }}
{{- $streams := include "quantd.number" ($config.QUANTD_MAX_STREAMS | default 64) | int64 }}
{{- $transport := max (mul 256 $mib) (mul $mib (add 64 (mul 6 (max $jobs $streams)))) }}
{{- $cause := printf "QUANTD_MAX_QUEUED_JOBS %d, QUANTD_MAX_STREAMS %d" $jobs $streams }}
{{- with $config.QUANTD_TRANSPORT_BUDGET }}
{{- $transport = include "quantd.bytes" . | int64 }}
{{- $cause = "QUANTD_TRANSPORT_BUDGET" }}
{{- end }}
{{- $needed := add (include "quantd.bytes" $config.QUANTD_BUDGET | int64) $transport (mul 256 $mib) }}
{{- $limit := include "quantd.bytes" .Values.resources.limits.memory | int64 }}
{{- if gt $needed $limit }}
{{- $sum := printf "config.QUANTD_BUDGET %s" (include "quantd.number" $config.QUANTD_BUDGET) }}
{{- $sum = printf "%s + gRPC %d MiB (config.%s) + process 256 MiB" $sum (div $transport $mib) $cause }}
{{- $given := include "quantd.number" .Values.resources.limits.memory }}
{{- fail (printf "%s = %d MiB, but resources.limits.memory is %s" $sum (div $needed $mib) $given) }}
{{- end }}
{{- end }}
