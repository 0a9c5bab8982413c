package engine

import "context"

// measureExtracts sets the gauges of extracts: how far their stages are behind, and what open windows hold.
func (e *Engine) measureExtracts(ctx context.Context, g gauges) error {
	for _, x := range e.running.Load().extracts {
		for _, s := range x.stages {
			d, err := e.describeDelivery(ctx, s.pipe, s.runningDelivery)
			if err != nil {
				return err
			}
			g.set(float64(d.LagRecords), e.metrics.DeliveryLagRecords, s.name(), s.pipe.stream.Name())
			g.set(d.LagSeconds, e.metrics.DeliveryLagSeconds, s.name(), s.pipe.stream.Name())
		}
		if x.window != nil {
			k := x.window.Kept()
			g.set(float64(k.Bytes), e.metrics.ExtractWindowBytes, x.spec.Name)
			g.set(float64(k.Records), e.metrics.ExtractWindowedRows, x.spec.Name)
		}
	}
	return nil
}

// measureTwins sets the gauges of twins.
func (e *Engine) measureTwins(g gauges) {
	for _, t := range e.twins.Twins() {
		st := t.Status()
		g.set(float64(st.Metrics), e.metrics.TwinValues, t.Name())
		g.set(float64(st.Watchers), e.metrics.TwinWatchers, t.Name())
	}
	e.metrics.TwinMemoryBytes.Set(float64(e.twins.MemoryBytes()))
}
