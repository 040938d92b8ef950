{{- define "imds-audit.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "imds-audit.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "imds-audit.labels" -}}
{{ include "imds-audit.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "imds-audit.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "imds-audit.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "imds-audit.image" -}}
{{- $repository := required "image.repository is required: push the image of `cargo xtask dist` to a registry of yours" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* "yes", or nothing. */}}
{{- define "imds-audit.isPrivileged" -}}
{{- if or .Values.privileged (eq .Values.preset "privileged") -}}yes{{- end -}}
{{- end -}}

{{- define "imds-audit.seLinuxOptions" -}}
{{- if .Values.seLinuxOptions -}}
{{- toYaml .Values.seLinuxOptions -}}
{{- else if eq .Values.preset "bottlerocket" -}}
user: system_u
role: system_r
type: super_t
level: s0
{{- else if eq .Values.preset "openshift" -}}
type: spc_t
{{- end -}}
{{- end -}}

{{/* An output's table. */}}
{{- define "imds-audit.output" -}}
format = {{ .format | toJson }}
kinds = {{ .kinds | toJson }}
classes = {{ .classes | toJson }}
{{- end -}}

{{- define "imds-audit.config" -}}
endpoints = {{ .Values.endpoints | toJson }}
ring_size = {{ .Values.ringSize | toJson }}
tally_interval = {{ .Values.tallyInterval | toJson }}
# The node's processes are in the pod's own /proc, as the pod is in the node's pid namespace.
procfs = "/proc"
cgroup = "/host/sys/fs/cgroup"
kubelet_logs = "/host/var/log"

[labels]
{{- range $name, $value := .Values.labels }}
{{ $name }} = {{ $value | toJson }}
{{- end }}

[metrics]
{{- if .Values.metrics.enabled }}
listen = {{ printf "%s:%d" .Values.metrics.address (int .Values.metrics.port) | toJson }}
{{- end }}
callers = {{ .Values.metrics.callers }}
max_callers = {{ int .Values.metrics.maxCallers }}
{{- if .Values.output.stdout.enabled }}

[[output]]
type = "stdout"
{{ include "imds-audit.output" .Values.output.stdout }}
{{- end }}
{{- if .Values.output.file.enabled }}

[[output]]
type = "file"
path = "/var/log/imds-audit/events.jsonl"
{{ include "imds-audit.output" .Values.output.file }}
max_size = {{ .Values.output.file.maxSize | toJson }}
max_total_size = {{ .Values.output.file.maxTotalSize | toJson }}
{{- end }}
{{- if not (or .Values.output.stdout.enabled .Values.output.file.enabled) }}
{{- fail "neither output.stdout nor output.file is enabled" }}
{{- end }}
{{- end -}}
