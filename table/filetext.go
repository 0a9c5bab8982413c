package table

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// fileText is a DataFile as it is kept in the database until a commit names the file.
type fileText struct {
	Path      string
	Rows      int64
	Bytes     int64
	Partition []typed           `json:",omitempty"`
	Columns   map[int]statsText `json:",omitempty"`
	Splits    []int64           `json:",omitempty"`
}

type statsText struct {
	Values, Nulls, NaNs, Bytes int64
	Lower, Upper               typed
}

// typed is a partition value or bound with its Go type: its first letter, then its text. Empty is nil.
type typed string

func typedOf(v any) (typed, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case bool:
		return typed("b" + strconv.FormatBool(v)), nil
	case int64:
		return typed("i" + strconv.FormatInt(v, 10)), nil
	case int32:
		return typedOf(int64(v))
	case float64:
		return typed("f" + strconv.FormatFloat(v, 'x', -1, 64)), nil
	case string:
		return typed("s" + base64.StdEncoding.EncodeToString([]byte(v))), nil
	case []byte:
		return typed("x" + base64.StdEncoding.EncodeToString(v)), nil
	case time.Time:
		return typed("t" + v.UTC().Format(time.RFC3339Nano)), nil
	case time.Duration:
		return typed("d" + strconv.FormatInt(int64(v), 10)), nil
	case uuid.UUID:
		return typed("u" + v.String()), nil
	}
	return "", fmt.Errorf("a value of type %T cannot be kept", v)
}

func (t typed) value() (any, error) {
	if t == "" {
		return nil, nil
	}
	text := string(t[1:])
	switch t[0] {
	case 'b':
		return strconv.ParseBool(text)
	case 'i':
		return strconv.ParseInt(text, 10, 64)
	case 'f':
		return strconv.ParseFloat(text, 64)
	case 's':
		b, err := base64.StdEncoding.DecodeString(text)
		return string(b), err
	case 'x':
		b, err := base64.StdEncoding.DecodeString(text)
		if b == nil {
			b = []byte{}
		}
		return b, err
	case 't':
		return time.Parse(time.RFC3339Nano, text)
	case 'd':
		n, err := strconv.ParseInt(text, 10, 64)
		return time.Duration(n), err
	case 'u':
		return uuid.Parse(text)
	}
	return nil, fmt.Errorf("a kept value begins with %q", t[0])
}

func encodeFile(f DataFile) ([]byte, error) {
	t := fileText{Path: f.Path, Rows: f.Rows, Bytes: f.Bytes, Splits: f.SplitOffsets, Columns: make(map[int]statsText, len(f.Columns))}
	for _, v := range f.Partition {
		p, err := typedOf(v)
		if err != nil {
			return nil, err
		}
		t.Partition = append(t.Partition, p)
	}
	for id, s := range f.Columns {
		c := statsText{Values: s.Values, Nulls: s.Nulls, NaNs: s.NaNs, Bytes: s.Bytes}
		var err error
		if c.Lower, err = typedOf(s.Lower); err != nil {
			return nil, err
		}
		if c.Upper, err = typedOf(s.Upper); err != nil {
			return nil, err
		}
		t.Columns[id] = c
	}
	return json.Marshal(t)
}

func decodeFile(text []byte) (DataFile, error) {
	var t fileText
	if err := json.Unmarshal(text, &t); err != nil {
		return DataFile{}, err
	}
	f := DataFile{Path: t.Path, Rows: t.Rows, Bytes: t.Bytes, SplitOffsets: t.Splits, Columns: make(map[int]ColumnStats, len(t.Columns))}
	for _, p := range t.Partition {
		v, err := p.value()
		if err != nil {
			return DataFile{}, err
		}
		f.Partition = append(f.Partition, v)
	}
	for id, c := range t.Columns {
		s := ColumnStats{Values: c.Values, Nulls: c.Nulls, NaNs: c.NaNs, Bytes: c.Bytes}
		var err error
		if s.Lower, err = c.Lower.value(); err != nil {
			return DataFile{}, err
		}
		if s.Upper, err = c.Upper.value(); err != nil {
			return DataFile{}, err
		}
		f.Columns[id] = s
	}
	return f, nil
}
