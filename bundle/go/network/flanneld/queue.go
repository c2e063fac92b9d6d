package main

import (
	"context"
	"sync"

	"github.com/flannel-io/flannel/pkg/lease"
)

// eventQueue holds lease events between the watch, which must never block, and the backend. It has no limit: it
// holds at most some events per node of the cluster.
type eventQueue struct {
	mutex  sync.Mutex
	events []lease.Event
	filled *signal1
}

func newEventQueue() *eventQueue { return &eventQueue{filled: newSignal1()} }

func (q *eventQueue) push(event lease.Event) {
	q.mutex.Lock()
	q.events = append(q.events, event)
	q.mutex.Unlock()
	q.filled.raise()
}

// take waits for events and returns all that are there.
func (q *eventQueue) take(ctx context.Context) ([]lease.Event, error) {
	for {
		q.mutex.Lock()
		events := q.events
		q.events = nil
		q.mutex.Unlock()
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-q.filled.raised():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// signal1 wakes one waiter; raising it again before the waiter looks is the same as raising it once.
type signal1 struct{ channel chan struct{} }

func newSignal1() *signal1 { return &signal1{make(chan struct{}, 1)} }

func (s *signal1) raise() {
	select {
	case s.channel <- struct{}{}:
	default:
	}
}

func (s *signal1) raised() <-chan struct{} { return s.channel }
