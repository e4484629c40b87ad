// Renders templates with Go's text/template: a JSON list of texts comes in, a list of results goes out.
//
// The functions are those that Flagger gives to the query of a MetricTemplate; the data are nil, as Flagger's are.
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type result struct {
	Output string `json:"output"`
	Error  string `json:"error"`
}

func render(text string) (out result) {
	named := func(value string) func() string { return func() string { return value } }
	functions := template.FuncMap{
		"name":      named("podinfo"),
		"namespace": named("test"),
		"target":    named("podinfo"),
		"service":   named("podinfo-canary"),
		"ingress":   named("web"),
		"route":     named(""),
		"interval":  named("1m"),
		"variables": func() map[string]string {
			return map[string]string{"direction": "inbound", "code": "5..", "empty": "", "ü": "é"}
		},
	}
	parsed, err := template.New("").Funcs(functions).Parse(text)
	if err != nil {
		return result{Error: err.Error()}
	}
	var built strings.Builder
	if err := parsed.Execute(&built, nil); err != nil {
		return result{Error: err.Error()}
	}
	return result{Output: built.String()}
}

func main() {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		panic(err)
	}
	results := make([]result, len(texts))
	for i, text := range texts {
		results[i] = render(text)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(results); err != nil {
		panic(err)
	}
}
