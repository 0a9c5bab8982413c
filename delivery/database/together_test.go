package database_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/database"
)

// testTogether: deliveries that meet an empty database at the same moment all make its tables.
func testTogether(t *testing.T, d target) {
	const rounds, sessions = 8, 8
	for round := range rounds {
		gate := make(chan struct{})
		var begun sync.WaitGroup
		for i := range sessions {
			begun.Go(func() {
				target, err := database.New(database.Options{URL: d.url, Table: "users", Delivery: fmt.Sprintf("lake/%d", i)})
				if err != nil {
					t.Error(err)
					return
				}
				<-gate
				s, _, err := target.Begin(t.Context(), "events", 1)
				if err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
				defer s.Close()
				if _, err := s.Ensure(t.Context(), []tarn.Field{{Name: "id", Type: tarn.Type{Kind: tarn.Long}}}, true); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		close(gate)
		begun.Wait()
		d.want("SELECT count(*) FROM tarn_progress", fmt.Sprint(sessions))
		d.exec("DROP TABLE tarn_progress")
		d.exec("DROP TABLE users")
	}
}
