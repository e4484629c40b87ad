{{- define "canarycore.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- /* The release, with the chart's name unless the release has it. Names of parts follow, so it is not longer. */}}
{{- define "canarycore.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- /* Affinities in values of Flagger's chart may use these two names. */}}
{{- define "flagger.name" -}}
{{ include "canarycore.name" . }}
{{- end }}
{{- define "flagger.fullname" -}}
{{ include "canarycore.fullname" . }}
{{- end }}

{{- define "canarycore.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "canarycore.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "canarycore.provider" -}}
{{- .Values.meshProvider | default "istio" }}
{{- end }}

{{- /* The names of all providers whose routing objects the controller may write, separated by commas. */}}
{{- define "canarycore.providers" -}}
{{- concat (list (include "canarycore.provider" .)) (.Values.providers | default list) | uniq | join "," }}
{{- end }}

{{- define "canarycore.labels" -}}
app.kubernetes.io/name: {{ include "canarycore.name" . }}
app.kubernetes.io/part-of: canarycore
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "canarycore.selector" -}}
app.kubernetes.io/name: {{ include "canarycore.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Labels or annotations as texts: an API server refuses numbers. */}}
{{- define "canarycore.texts" -}}
{{- range $name, $value := . }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{- define "canarycore.addresses" -}}
{{- $addresses := dict "SLACK_URL" .Values.slack.url "SLACK_PROXY_URL" .Values.slack.proxyUrl "MSTEAMS_URL" .Values.msteams.url "MSTEAMS_PROXY_URL" .Values.msteams.proxyUrl "EVENT_WEBHOOK_URL" .Values.eventWebhook }}
{{- range $name, $address := $addresses }}
{{- with $address }}
{{ $name }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "canarycore.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%v" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "canarycore.block" -}}
{{- $block := dict "cidr" .cidr }}
{{- with .except }}
{{- $block = set $block "except" . }}
{{- end }}
{{- toYaml $block }}
{{- end }}
