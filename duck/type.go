package duck

import (
	"context"
	"fmt"
	"strings"

	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
)

func columnOf(name string, lt capi.LogicalType) Column {
	c := Column{Name: name, SQL: typeSQL(lt)}
	if t, err := tarn.ParseType(c.SQL); err == nil {
		c.Type = t
	}
	return c
}

var typeName = map[capi.Type]string{
	capi.TypeBoolean: "BOOLEAN", capi.TypeTinyInt: "TINYINT", capi.TypeSmallInt: "SMALLINT",
	capi.TypeInteger: "INTEGER", capi.TypeBigInt: "BIGINT", capi.TypeUTinyInt: "UTINYINT",
	capi.TypeUSmallInt: "USMALLINT", capi.TypeUInteger: "UINTEGER", capi.TypeUBigInt: "UBIGINT",
	capi.TypeFloat: "FLOAT", capi.TypeDouble: "DOUBLE", capi.TypeTimestamp: "TIMESTAMP",
	capi.TypeDate: "DATE", capi.TypeTime: "TIME", capi.TypeInterval: "INTERVAL",
	capi.TypeHugeInt: "HUGEINT", capi.TypeUHugeInt: "UHUGEINT", capi.TypeVarchar: "VARCHAR",
	capi.TypeBlob: "BLOB", capi.TypeTimestampS: "TIMESTAMP_S", capi.TypeTimestampMS: "TIMESTAMP_MS",
	capi.TypeTimestampNS: "TIMESTAMP_NS", capi.TypeUUID: "UUID", capi.TypeBit: "BIT",
	capi.TypeTimeTZ: "TIME WITH TIME ZONE", capi.TypeTimestampTZ: "TIMESTAMP WITH TIME ZONE",
	capi.TypeBigNum: "BIGNUM", capi.TypeSQLNull: "NULL", capi.TypeTimeNS: "TIME_NS",
	capi.TypeGeometry: "GEOMETRY", capi.TypeVariant: "VARIANT", capi.TypeEnum: "ENUM", capi.TypeUnion: "UNION",
}

// typeSQL returns the name of a type as DuckDB writes it. The values of an ENUM are left out.
func typeSQL(lt capi.LogicalType) string {
	if a := capi.LogicalTypeGetAlias(lt); a == "JSON" {
		return a
	}
	t := capi.GetTypeId(lt)
	switch t {
	case capi.TypeDecimal:
		return fmt.Sprintf("DECIMAL(%d,%d)", capi.DecimalWidth(lt), capi.DecimalScale(lt))
	case capi.TypeList:
		return inner(capi.ListTypeChildType(lt)) + "[]"
	case capi.TypeArray:
		return fmt.Sprintf("%s[%d]", inner(capi.ArrayTypeChildType(lt)), capi.ArrayTypeArraySize(lt))
	case capi.TypeMap:
		return "MAP(" + inner(capi.MapTypeKeyType(lt)) + ", " + inner(capi.MapTypeValueType(lt)) + ")"
	case capi.TypeStruct:
		members := make([]string, capi.StructTypeChildCount(lt))
		for i := range members {
			members[i] = tarn.QuoteIdent(capi.StructTypeChildName(lt, capi.IdxT(i))) + " " + inner(capi.StructTypeChildType(lt, capi.IdxT(i)))
		}
		return "STRUCT(" + strings.Join(members, ", ") + ")"
	}
	if s, ok := typeName[t]; ok {
		return s
	}
	return "UNKNOWN"
}

func inner(lt capi.LogicalType) string {
	defer capi.DestroyLogicalType(&lt)
	return typeSQL(lt)
}

// Describe returns the columns a SELECT would yield, without running it. A column of a type tables
// can not hold is an error that says which; an untyped NULL is an INTEGER, as DuckDB has it. A
// parameter in sql needs a cast.
func (d *DB) Describe(ctx context.Context, sql string) ([]tarn.Field, error) {
	cols, err := d.Columns(ctx, sql)
	if err != nil {
		return nil, err
	}
	fields := make([]tarn.Field, len(cols))
	for i, c := range cols {
		t, err := tableType(c)
		if err != nil {
			return nil, err
		}
		fields[i] = tarn.Field{Name: c.Name, Type: t}
	}
	return fields, nil
}

func tableType(c Column) (tarn.Type, error) {
	t, err := tarn.ParseType(c.SQL)
	if err != nil {
		return t, &tarn.Error{Code: tarn.CodeSchema, Detail: fmt.Sprintf("the column %s has the type %s, which tables can not hold", c.Name, c.SQL),
			Hint: "cast it, for example to VARCHAR"}
	}
	return t, nil
}

// Columns returns the columns the last statement of sql would yield, without running it.
func (d *DB) Columns(ctx context.Context, sql string) ([]Column, error) {
	if err := checkText(sql); err != nil {
		return nil, err
	}
	c, err := d.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Release()
	var p capi.PreparedStatement
	var state capi.State
	c.interrupting(ctx, func() { state = capi.Prepare(c.c, sql, &p) })
	defer capi.DestroyPrepare(&p)
	if state == capi.StateError {
		return nil, c.fail(ctx, capi.PrepareError(p))
	}
	cols := make([]Column, capi.PreparedStatementColumnCount(p))
	for i := range cols {
		lt := capi.PreparedStatementColumnLogicalType(p, capi.IdxT(i))
		cols[i] = columnOf(capi.PreparedStatementColumnName(p, capi.IdxT(i)), lt)
		capi.DestroyLogicalType(&lt)
	}
	return cols, nil
}
