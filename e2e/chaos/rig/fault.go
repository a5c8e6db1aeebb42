//go:build e2e

package rig

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Fault is something that goes wrong. Strike does it; Heal puts right whatever Strike did, and returns when it has.
type Fault interface {
	fmt.Stringer
	Strike()
	Heal(ctx context.Context) error
}

// Kill is kill -9 of processes, and their start after Down.
type Kill struct {
	Victims []*Process
	Down    time.Duration
}

func (k Kill) String() string { return "kill -9 " + names(k.Victims) }

// Strike implements [Fault].
func (k Kill) Strike() {
	var all sync.WaitGroup
	for _, p := range k.Victims {
		all.Go(p.Kill)
	}
	all.Wait()
}

// Heal implements [Fault].
func (k Kill) Heal(ctx context.Context) error {
	pause(ctx, k.Down)
	for _, p := range k.Victims {
		if err := p.Start(); err != nil {
			return err
		}
	}
	return nil
}

// Pause is SIGSTOP, and SIGCONT after For.
type Pause struct {
	Victim *Process
	For    time.Duration
}

func (p Pause) String() string { return fmt.Sprintf("pause %s for %v", p.Victim.Name, p.For) }

// Strike implements [Fault].
func (p Pause) Strike() { p.Victim.Pause() }

// Heal implements [Fault].
func (p Pause) Heal(ctx context.Context) error {
	pause(ctx, p.For)
	p.Victim.Resume()
	return nil
}

// Restart is SIGTERM, and a new start.
type Restart struct {
	Victim *Process
	ended  error
}

func (r *Restart) String() string { return "SIGTERM " + r.Victim.Name }

// Strike implements [Fault].
func (r *Restart) Strike() { r.ended = r.Victim.End() }

// Heal implements [Fault].
func (r *Restart) Heal(context.Context) error { return errors.Join(r.ended, r.Victim.Start()) }

// Lines is a change of lines, for a time: held in one direction or both, or slow.
type Lines struct {
	What  string
	Lines []*Line
	State State
	For   time.Duration
}

func (l Lines) String() string { return fmt.Sprintf("%s for %v", l.What, l.For) }

// Strike implements [Fault].
func (l Lines) Strike() {
	for _, line := range l.Lines {
		line.Set(l.State)
	}
}

// Heal implements [Fault].
func (l Lines) Heal(ctx context.Context) error {
	pause(ctx, l.For)
	for _, line := range l.Lines {
		line.Set(State{})
		if l.State.There || l.State.Back {
			line.Cut() // who has waited for so long has given up
		}
	}
	return nil
}

// Cut breaks the connections of lines, once.
type Cut struct{ Lines []*Line }

func (c Cut) String() string { return "cut " + c.Lines[0].Name }

// Strike implements [Fault].
func (c Cut) Strike() {
	for _, line := range c.Lines {
		line.Cut()
	}
}

// Heal implements [Fault].
func (c Cut) Heal(context.Context) error { return nil }

// Island are the lines that connect a server with the other servers, and with nobody else.
func (r *Rig) Island(server int) []*Line {
	var lines []*Line
	for pair, line := range r.Routes {
		if pair[0] == server || pair[1] == server {
			lines = append(lines, line)
		}
	}
	return lines
}

func names(processes []*Process) string {
	var all []string
	for _, p := range processes {
		all = append(all, p.Name)
	}
	return strings.Join(all, " ")
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
