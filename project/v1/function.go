package v1

// Function is the content of functions/NAME/function.yaml; the folder gives the name.
type Function struct {
	Runtime     string         `json:"runtime" required:"true" enum:"provided,python,node" example:"python" doc:"What runs the code. 'provided': the executable 'bootstrap' in the folder, which speaks the AWS Lambda Runtime API."`
	Handler     Handler        `json:"handler,omitempty" example:"app.handler" doc:"'MODULE.FUNCTION': 'app.handler' is 'handler' in 'app.py' or 'app.mjs'. Required but for 'provided'."`
	Timeout     Duration       `json:"timeout" default:"60s" min:"100ms" max:"15m" example:"60s" doc:"How long one invocation may take; the worker is then killed and its batch fails."`
	Memory      ByteSize       `json:"memory" default:"512MiB" min:"64MiB" max:"1TiB" example:"512MiB" doc:"What one worker may use."`
	Concurrency int            `json:"concurrency,omitempty" min:"0" max:"1000" example:"2" doc:"How many workers run at most. Default: one for each core."`
	Environment []Variable     `json:"environment,omitempty" shorthand:"name,value" example:"{REGION: north}" doc:"Environment variables: a mapping of name to text."`
	Secrets     []VariableName `json:"secrets,omitempty" example:"[API_KEY]" doc:"Environment variables whose values come from those of the server. They are never stored."`
	Batch       FunctionBatch  `json:"batch" doc:"How many records one invocation gets; whichever bound comes first."`
	Retries     int            `json:"retries" default:"2" min:"0" max:"100" example:"2" doc:"How often a failed invocation is repeated before its records become failed records."`
	Network     bool           `json:"network,omitempty" doc:"Whether it may reach the network."`
	Sandbox     string         `json:"sandbox" default:"auto" enum:"auto,required,off" example:"required" doc:"'auto': as much isolation as the host offers. 'required': it does not start on a host that offers too little. 'off': none."`
}

// FunctionBatch bounds one invocation. The largest size leaves room for base64 in a payload of 6 MiB.
type FunctionBatch struct {
	Records int      `json:"records" default:"500" min:"1" max:"10000" example:"500" doc:"Records of one invocation."`
	Bytes   ByteSize `json:"bytes" default:"4MiB" min:"1KiB" max:"4608KiB" example:"4MiB" doc:"Their bytes, before base64; a payload never exceeds 6 MiB."`
	Wait    Duration `json:"wait" default:"100ms" min:"1ms" max:"5m" example:"100ms" doc:"How long the first record waits for others."`
}

// Variable is one environment variable.
type Variable struct {
	Name  VariableName `json:"name" required:"true" example:"REGION" doc:"The name of the variable."`
	Value PlainText    `json:"value" required:"true" example:"north" doc:"Its value, as it stands here."`
}
