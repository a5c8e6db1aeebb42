package embed

import (
	"context"
	"fmt"
	"log/slog"
)

// logger hands the server's log on. What the server calls a notice is for debugging here: it says on every start how it
// was started.
type logger struct{ to *slog.Logger }

func (l logger) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }
func (l logger) Warnf(format string, v ...any)   { l.log(slog.LevelWarn, format, v) }
func (l logger) Errorf(format string, v ...any)  { l.log(slog.LevelError, format, v) }
func (l logger) Fatalf(format string, v ...any)  { l.log(slog.LevelError, format, v) }
func (l logger) Debugf(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l logger) Tracef(format string, v ...any)  {}

func (l logger) log(level slog.Level, format string, v []any) {
	if l.to == nil {
		return
	}
	l.to.Log(context.Background(), level, "nats server", "line", fmt.Sprintf(format, v...))
}
