// flagd's own evaluator, store, file watcher and answers of its remote evaluation protocol (OFREP), as one small server:
// the module proxy has flagd's core, and not the command around it.
//
//	flagd FLAGS.json HOST:PORT
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"

	"github.com/open-feature/flagd/core/pkg/evaluator"
	"github.com/open-feature/flagd/core/pkg/logger"
	"github.com/open-feature/flagd/core/pkg/service/ofrep"
	"github.com/open-feature/flagd/core/pkg/store"
	"github.com/open-feature/flagd/core/pkg/sync"
	"github.com/open-feature/flagd/core/pkg/sync/file"
	"go.uber.org/zap"
)

func main() {
	quiet := logger.NewLogger(zap.NewNop(), false)
	flags := store.NewFlags()
	flags.FlagSources = []string{os.Args[1]}
	engine := evaluator.NewJSON(quiet, flags)
	watcher := file.NewFileSync(os.Args[1], file.FSNOTIFY, quiet)
	ctx := context.Background()
	if err := watcher.Init(ctx); err != nil {
		log.Fatal(err)
	}
	updates := make(chan sync.DataSync, 1)
	go func() { log.Fatal(watcher.Sync(ctx, updates)) }()
	go func() {
		for update := range updates {
			if _, _, err := engine.SetState(update); err != nil {
				log.Print(err) // flagd keeps the last valid flags too
			}
		}
	}()
	http.HandleFunc("POST /ofrep/v1/evaluate/flags/{key}", func(out http.ResponseWriter, in *http.Request) {
		var request struct {
			Context map[string]any `json:"context"`
		}
		out.Header().Set("Content-Type", "application/json")
		if err := json.NewDecoder(in.Body).Decode(&request); err != nil {
			out.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(out).Encode(ofrep.ContextErrorResponseFrom(in.PathValue("key")))
			return
		}
		value := engine.ResolveAsAnyValue(in.Context(), "", in.PathValue("key"), request.Context)
		if value.Error != nil {
			status, answer := ofrep.EvaluationErrorResponseFrom(value)
			out.WriteHeader(status)
			_ = json.NewEncoder(out).Encode(answer)
			return
		}
		_ = json.NewEncoder(out).Encode(ofrep.SuccessResponseFrom(value))
	})
	log.Fatal(http.ListenAndServe(os.Args[2], nil))
}
