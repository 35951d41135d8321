{{- define "quantd.selector" -}}
app.kubernetes.io/name: quantd
{{- end }}

{{- define "quantd.metadata" -}}
name: quantd
namespace: {{ .Values.namespace.name }}
labels:
  {{- include "quantd.selector" . | nindent 2 }}
{{- end }}

{{- define "quantd.monitored" -}}
{{ include "quantd.metadata" . }}
  {{- toYaml .Values.monitoring.labels | nindent 2 }}
{{- end }}
