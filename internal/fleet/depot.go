package fleet

import (
	"strconv"
	"time"
)

// ReportInterval is how far apart the reports of a depot are.
const ReportInterval = 15 * time.Minute

const (
	chargersPerDepot = 4
	sessionReports   = 6 // a locomotive stays for so many reports
)

// depots are the places that have chargers.
var depots = [...]string{"basel", "duisburg", "genova", "hamburg", "rotterdam"}

// powers are what a charger gives, in kW.
var powers = [...]float64{11, 22, 22, 43}

// AppendReports appends the reports that the charging stations of all depots send at a time, which is
// rounded down to ReportInterval: one nested JSON object for each depot, one a line. The same time always
// gives the same bytes.
func AppendReports(dst []byte, at time.Time) []byte {
	at = at.UTC().Truncate(ReportInterval)
	for d := range depots {
		dst = appendReport(dst, d, at)
	}
	return dst
}

func appendReport(dst []byte, depot int, at time.Time) []byte {
	report := uint64(at.Unix()) / uint64(ReportInterval/time.Second)
	dst = append(dst, `{"depot":"`...)
	dst = append(dst, depots[depot]...)
	dst = append(dst, `","sent_at":"`...)
	dst = at.AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","station":{"ambient_c":`...)
	dst = appendTenths(dst, 2+6*float64(mix(report/4+uint64(depot))%100)/100)
	dst = append(dst, `,"chargers":[`...)
	for c := range uint64(chargersPerDepot) {
		if c > 0 {
			dst = append(dst, ',')
		}
		dst = appendCharger(dst, c, uint64(depot)*chargersPerDepot+c, report)
	}
	return append(dst, "]}}\n"...)
}

// appendCharger appends charger c of a depot; number tells it from those of all depots.
func appendCharger(dst []byte, c, number, report uint64) []byte {
	shifted := report + number*5 // sessions do not begin at the same time everywhere
	x := mix(shifted/sessionReports ^ mix(number))
	state, power := "free", 0.0
	switch {
	case x&31 == 0:
		state = "fault"
	case x%3 > 0:
		state, power = "charging", powers[x>>8%uint64(len(powers))]*(0.9+float64(x>>16%100)/1000)
	}
	dst = append(dst, `{"id":"charger-`...)
	dst = strconv.AppendUint(dst, c+1, 10)
	dst = append(dst, `","state":"`...)
	dst = append(dst, state...)
	dst = append(dst, `","output":{"power_kw":`...)
	dst = appendTenths(dst, power)
	dst = append(dst, `,"session_kwh":`...)
	dst = appendTenths(dst, power*ReportInterval.Hours()*float64(shifted%sessionReports))
	return append(dst, "}}"...)
}

func appendTenths(dst []byte, v float64) []byte { return strconv.AppendFloat(dst, v, 'f', 1, 64) }
