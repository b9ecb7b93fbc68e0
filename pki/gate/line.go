package gate

import (
	"encoding/json"
	"strconv"
	"time"
)

// line is one JSON object that is written member by member: a log has one for
// each request, and reflection costs as much as the rest of it.
type line []byte

func (l *line) name(name string) {
	switch n := len(*l); {
	case n == 0:
		*l = append(*l, '{')
	case (*l)[n-1] != '{':
		*l = append(*l, ',')
	}
	*l = append(*l, '"')
	*l = append(*l, name...)
	*l = append(*l, '"', ':')
}

// text writes a member unless it is empty.
func (l *line) text(name, value string) {
	if value == "" {
		return
	}
	l.name(name)
	*l = appendText(*l, value)
}

// appendText quotes what a peer may have had a hand in.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...) // a string can always be written
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func (l *line) texts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	l.name(name)
	*l = append(*l, '[')
	for i, v := range values {
		if i > 0 {
			*l = append(*l, ',')
		}
		*l = appendText(*l, v)
	}
	*l = append(*l, ']')
}

func (l *line) number(name string, value int64) {
	l.name(name)
	*l = strconv.AppendInt(*l, value, 10)
}

// milliseconds writes a time with three digits after the point.
func (l *line) milliseconds(name string, d time.Duration) {
	l.name(name)
	*l = strconv.AppendFloat(*l, float64(d.Microseconds())/1000, 'f', -1, 64)
}

func (l *line) time(name string, t time.Time) {
	l.name(name)
	*l = append(*l, '"')
	*l = t.UTC().AppendFormat(*l, "2006-01-02T15:04:05.000000Z07:00")
	*l = append(*l, '"')
}

// raw writes what is JSON already.
func (l *line) raw(name string, value []byte) {
	if len(value) > 0 {
		l.name(name)
		*l = append(*l, value...)
	}
}

func (l *line) end() []byte { return append(*l, '}') }
