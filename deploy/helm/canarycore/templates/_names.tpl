{{- define "canarycore.labels" -}}
app.kubernetes.io/name: canarycore
app.kubernetes.io/part-of: canarycore
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "canarycore.selector" -}}
app.kubernetes.io/name: canarycore
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "canarycore.block" -}}
{{- $block := dict "cidr" .cidr }}
{{- with .except }}
{{- $block = set $block "except" . }}
{{- end }}
{{- toYaml $block }}
{{- end }}
