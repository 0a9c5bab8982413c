package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// systemSchema holds the tables about the lake itself.
const systemSchema = "system"

// defaultSchema is where a table named without a schema is looked for.
const defaultSchema = "curated"

// target is what a ref means now.
type target struct {
	name   string // curated.telemetry; system tables without "system."
	system bool
}

// names are the tables a statement may name.
type names struct {
	tables []TableInfo
	system []string
}

func (s *Service) names(ctx context.Context) (names, error) {
	tables, err := s.o.Source.Tables(ctx)
	n := names{tables: tables, system: []string{queryLogName}}
	if s.o.System != nil {
		n.system = append(n.system, s.o.System.Names()...)
		slices.Sort(n.system)
	}
	return n, err
}

func (n names) all() []string {
	all := make([]string, 0, len(n.tables)+len(n.system))
	for _, t := range n.tables {
		all = append(all, t.Name)
	}
	for _, t := range n.system {
		all = append(all, systemSchema+"."+t)
	}
	return all
}

// resolve finds the table a ref names: the exact name first, then without regard to case, as SQL
// identifiers are compared.
func (n names) resolve(sql string, r ref) (target, error) {
	schema := r.schema
	if schema == "" {
		schema = defaultSchema
	}
	if strings.EqualFold(schema, systemSchema) {
		for _, t := range n.system {
			if strings.EqualFold(t, r.table) {
				return target{name: t, system: true}, nil
			}
		}
		return target{}, notFound(sql, r.offset, r.written(), n.all())
	}
	want, folded := schema+"."+r.table, ""
	for _, t := range n.tables {
		if t.Name == want {
			return target{name: t.Name}, nil
		}
		if strings.EqualFold(t.Name, want) {
			folded = t.Name
		}
	}
	if folded == "" {
		return target{}, notFound(sql, r.offset, r.written(), n.all())
	}
	return target{name: folded}, nil
}

func (r ref) written() string {
	if r.schema == "" {
		return r.table
	}
	return r.schema + "." + r.table
}

func notFound(sql string, offset int, name string, all []string) error {
	e := &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no table %s", name)}
	near := duck.Nearest(name, all)
	if near == "" && !strings.Contains(name, ".") {
		for _, t := range all {
			if _, table, _ := strings.Cut(t, "."); strings.EqualFold(table, name) {
				near = t
			}
		}
	}
	switch {
	case near != "":
		e.Hint = "did you mean " + near + "?"
	case strings.ContainsAny(name, `/\`) || strings.Contains(name, "://"):
		e.Code, e.Detail = tarn.CodeForbidden, fmt.Sprintf("%q is not a table; files can not be read", name)
	default:
		e.Hint = "SHOW TABLES lists them"
	}
	return duck.At(sql, offset, e)
}
