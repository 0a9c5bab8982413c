package project_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tarn-data/tarn/project"
)

// TestPlan compares the plans between the projects under old/ and new/ of testdata/plan/*.txtar
// with the file want.
func TestPlan(t *testing.T) {
	entries, err := os.ReadDir("testdata/plan")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Run(strings.TrimSuffix(e.Name(), ".txtar"), func(t *testing.T) {
			name := "testdata/plan/" + e.Name()
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var old, new []string
			want := ""
			for _, f := range ar.Files {
				if n, ok := strings.CutPrefix(f.Name, "old/"); ok {
					old = append(old, n, string(f.Data))
				} else if n, ok := strings.CutPrefix(f.Name, "new/"); ok {
					new = append(new, n, string(f.Data))
				} else {
					want = string(f.Data)
				}
			}
			var before *project.Project
			if old != nil {
				before = stored(t, mustLoad(t, old...))
			}
			got := project.Plan(before, mustLoad(t, new...)).String()
			if *update {
				setWant(ar, got)
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// stored returns p as an engine finds it again after a restart.
func stored(t *testing.T, p *project.Project) *project.Project {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	q := new(project.Project)
	if err := json.Unmarshal(b, q); err != nil {
		t.Fatal(err)
	}
	return q
}

func TestPlanJSON(t *testing.T) {
	p := mustLoad(t, "pipelines/a.yaml", "pipeline: a\ndeliver: []\nstream: {shards: 2}\n")
	q := mustLoad(t, "pipelines/a.yaml", "pipeline: a\ndeliver: []\nstream: {shards: 1}\n")
	var got struct {
		Changes []struct {
			Action, Kind, Name string
			Unsafe             bool
			Fields             []struct{ Path, From, To, Note string }
		}
	}
	plan := project.Plan(p, q)
	if err := json.Unmarshal(plan.JSON(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Changes) != 3 || got.Changes[1].Kind != "stream" || !got.Changes[1].Unsafe || got.Changes[1].Fields[0].From != "2" {
		t.Errorf("%s", plan.JSON())
	}
	if u := plan.Unsafe(); len(u) != 1 || u[0].Name != "a" || u[0].Kind != "stream" {
		t.Errorf("unsafe: %v", u)
	}
	if s := string(project.Changes(nil).JSON()); !strings.Contains(s, `"changes": []`) {
		t.Error(s)
	}
}

// A plan between a project and itself leaves everything, and between any two projects names each
// thing once, with create and remove exchanged when the plan is turned round.
func TestPlanIsSymmetric(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	random := func() *project.Project {
		var kv []string
		for _, name := range []string{"a", "b", "c", "d"} {
			if rng.IntN(2) == 0 {
				continue
			}
			text := "pipeline: " + name + "\nstream: {shards: " + []string{"1", "2"}[rng.IntN(2)] + "}\ndeliver:\n"
			if rng.IntN(2) == 0 {
				text += "  - {table: curated." + name + ", compression: " + []string{"zstd", "none"}[rng.IntN(2)] + "}\n"
			} else {
				text += "  []\n"
			}
			kv = append(kv, "pipelines/"+name+".yaml", text)
		}
		return mustLoad(t, kv...)
	}
	for range 100 {
		p, q := random(), random()
		if self := project.Plan(p, stored(t, p)); self.Count(project.Leave) != len(self) {
			t.Fatalf("a project differs from itself:\n%s", self)
		}
		there, back := project.Plan(p, q), project.Plan(q, p)
		if len(there) != len(back) {
			t.Fatalf("%s\n%s", there, back)
		}
		opposite := map[project.Action]project.Action{project.Create: project.Remove, project.Remove: project.Create, project.Update: project.Update, project.Leave: project.Leave}
		seen := map[string]bool{}
		for i, c := range there {
			if back[i].Name != c.Name || back[i].Kind != c.Kind || back[i].Action != opposite[c.Action] || seen[c.Kind+" "+c.Name] {
				t.Fatalf("%v and back %v", c, back[i])
			}
			seen[c.Kind+" "+c.Name] = true
		}
	}
}
