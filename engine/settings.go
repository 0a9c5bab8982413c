package engine

import (
	"errors"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// kindSettings is the kind of what tarn.yaml says of the whole lake.
const kindSettings = "settings"

// settingsWait is the error of settings that wait for the next start.
type settingsWait struct {
	error
	paths []string
}

// applySettings makes the settings of a project those that run, as far as that can be done without a start: rates, and the
// issuer elsewhere. It returns what waits for one. The caller holds reload.
func (e *Engine) applySettings(p *project.Project) []shortfall {
	var short []shortfall
	now := &e.inForce
	if e.guard != nil && now.Auth.Mode == p.Auth.Mode {
		e.guard.Limit(float64(p.Auth.RequestsPerSec), p.Auth.RequestsBurst)
		now.Auth.RequestsPerSec, now.Auth.RequestsBurst = p.Auth.RequestsPerSec, p.Auth.RequestsBurst
		if now.Auth.Mode == project.AuthExternal && (now.Auth.Issuer != p.Auth.Issuer || now.Auth.Audience != p.Auth.Audience) {
			if err := e.trust(e.guard, p.Auth); err != nil {
				short = append(short, shortfall{kindSettings, p.Name, stateBefore, err})
			} else {
				now.Auth.Issuer, now.Auth.Audience = p.Auth.Issuer, p.Auth.Audience
			}
		}
	}
	var paths []string
	for _, f := range project.NextStart(now, p) {
		paths = append(paths, f.Path)
	}
	if paths != nil {
		short = append(short, shortfall{kindSettings, p.Name, stateBefore, settingsWait{&tarn.Error{Code: tarn.CodeUnsupported,
			Detail: strings.Join(paths, ", ") + ": not while the lake runs", Hint: "end tarn up and start it again"}, paths}})
	}
	return short
}

// waitsForStart reports whether a setting is among those that wait for the next start.
func waitsForStart(short []shortfall, path string) bool {
	var wait settingsWait
	return slices.ContainsFunc(short, func(s shortfall) bool { return errors.As(s.err, &wait) && slices.Contains(wait.paths, path) })
}
