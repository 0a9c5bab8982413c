package catalog

import "github.com/tarn-data/tarn"

// widen returns the narrowest type that holds the values of both, and whether they are of one kind,
// so that widening loses nothing a reader would miss. The zero Type stands for no values. The result
// does not depend on the order in which types are widened.
func widen(a, b tarn.Type) (_ tarn.Type, alike bool) {
	switch {
	case a.Kind == tarn.Invalid:
		return b, true
	case b.Kind == tarn.Invalid, a.Equal(b):
		return a, true
	case isNumber(a) && isNumber(b):
		return widenNumbers(a, b), true
	case isTime(a) && isTime(b):
		return tarn.Type{Kind: max(a.Kind, b.Kind)}, true // Date < Timestamp < TimestampTZ
	case a.Kind == tarn.Struct && b.Kind == tarn.Struct:
		return widenStructs(a, b)
	case a.Kind == tarn.List && b.Kind == tarn.List:
		elem, alike := widen(a.Elem.Type, b.Elem.Type)
		return tarn.Type{Kind: tarn.List, Elem: &tarn.Field{Name: a.Elem.Name, Type: elem}}, alike
	case a.Kind == tarn.Map && b.Kind == tarn.Map:
		key, k := widen(a.Key.Type, b.Key.Type)
		value, v := widen(a.Elem.Type, b.Elem.Type)
		return tarn.Type{Kind: tarn.Map, Key: &tarn.Field{Name: a.Key.Name, Type: key}, Elem: &tarn.Field{Name: a.Elem.Name, Type: value}}, k && v
	case isDocument(a) && isDocument(b):
		return tarn.Type{Kind: tarn.JSON}, a.Kind == tarn.JSON || b.Kind == tarn.JSON
	}
	return tarn.Type{Kind: tarn.String}, false
}

func isNumber(t tarn.Type) bool {
	switch t.Kind {
	case tarn.Int, tarn.Long, tarn.Float, tarn.Double, tarn.Decimal:
		return true
	}
	return false
}

func isTime(t tarn.Type) bool {
	return t.Kind == tarn.Date || t.Kind == tarn.Timestamp || t.Kind == tarn.TimestampTZ
}

func isDocument(t tarn.Type) bool {
	return t.Kind == tarn.Struct || t.Kind == tarn.List || t.Kind == tarn.Map || t.Kind == tarn.JSON
}

// widenNumbers widens integers to decimals that hold them, and gives up exactness only where a
// decimal of 38 digits does not do or a side is inexact already.
func widenNumbers(a, b tarn.Type) tarn.Type {
	if isFloat(a) || isFloat(b) {
		return tarn.Type{Kind: tarn.Double}
	}
	if a.Kind != tarn.Decimal && b.Kind != tarn.Decimal {
		return tarn.Type{Kind: tarn.Long}
	}
	ai, as := digits(a)
	bi, bs := digits(b)
	whole, scale := max(ai, bi), max(as, bs)
	if whole+scale > 38 {
		return tarn.Type{Kind: tarn.Double}
	}
	return tarn.Type{Kind: tarn.Decimal, Precision: whole + scale, Scale: scale}
}

func isFloat(t tarn.Type) bool { return t.Kind == tarn.Float || t.Kind == tarn.Double }

// digits returns the digits before and behind the point of an exact number.
func digits(t tarn.Type) (whole, scale int) {
	switch t.Kind {
	case tarn.Int:
		return 10, 0
	case tarn.Long:
		return 19, 0
	}
	return t.Precision - t.Scale, t.Scale
}

// widenStructs unites the members, in the order they first stand in.
func widenStructs(a, b tarn.Type) (tarn.Type, bool) {
	out, alike := tarn.Type{Kind: tarn.Struct}, true
	out.Fields = append(out.Fields, a.Fields...)
	for _, f := range b.Fields {
		at := indexFold(out.Fields, f.Name)
		if at < 0 {
			out.Fields = append(out.Fields, f)
			continue
		}
		t, ok := widen(out.Fields[at].Type, f.Type)
		out.Fields[at].Type = t
		alike = alike && ok
	}
	return out, alike
}

func indexFold(fields []tarn.Field, name string) int {
	for i := range fields {
		if fold(fields[i].Name) == fold(name) {
			return i
		}
	}
	return -1
}

// fits reports whether every value of type t can be read as want.
func fits(t, want tarn.Type) bool {
	w, alike := widen(want, t)
	return w.Equal(want) && (alike || want.Kind == tarn.String || want.Kind == tarn.JSON)
}
