package v1

// Source is where records come from: exactly one of http, files and function. What stands behind
// function belongs to it.
type Source struct {
	HTTP       *HTTPSource `json:"http,omitempty" doc:"Producers post records to '/v1/streams/{stream}/records'. It has no settings yet: 'http: {}'."`
	Files      *FileSource `json:"files,omitempty" example:"{path: landing/users}" doc:"Every finished file of a folder is taken once, and moved to 'done' or 'failed' beside it."`
	Function   Name        `json:"function,omitempty" example:"fetch" doc:"A function whose returned records are appended to the stream, by exactly one of 'schedule', 'every' and 'continuous'."`
	Schedule   Schedule    `json:"schedule,omitzero" example:"\"*/5 * * * *\"" doc:"When it runs, in UTC: minute, hour, day of the month, month, day of the week. Quote it."`
	Every      Duration    `json:"every,omitempty" min:"1s" max:"8760h" example:"10s" doc:"How far apart it runs."`
	Continuous bool        `json:"continuous,omitempty" example:"true" doc:"It runs again as soon as it has ended."`
	CatchUp    string      `json:"catch_up" default:"one" enum:"one,all,none" example:"one" doc:"What becomes of the runs that were due while Tarn was down: the last 'one', 'all' in order, or 'none'."`
}

// HTTPSource is the HTTP door.
type HTTPSource struct{}

// FileSource is the file-drop door.
type FileSource struct {
	Path   FolderPath `json:"path" required:"true" example:"landing/users" doc:"The folder in the lake, or an absolute path. Folders in it are not looked into."`
	Match  Glob       `json:"match" default:"*" example:"'*.csv'" doc:"The names of the files to take: '*' for any text, '?' for a character, '[a-z]' for one of several."`
	Format string     `json:"format" default:"auto" enum:"auto,csv,json,ndjson,parquet,avro,text" example:"csv" doc:"How the files are read. 'auto' finds it out from the name and the content; 'text' makes a record of each line. '.gz' and '.zst' are unpacked."`
	Settle Duration   `json:"settle" default:"2s" min:"100ms" max:"24h" example:"2s" doc:"A file that has not changed for this long is finished."`
	CSV    CSV        `json:"csv" doc:"How CSV is read, where finding it out goes wrong."`
}

// CSV says how CSV is read.
type CSV struct {
	Delimiter Character `json:"delimiter,omitempty" example:"';'" doc:"The character between two fields. Default: found out."`
	Header    string    `json:"header" default:"auto" enum:"auto,true,false" example:"true" doc:"Whether the first line names the columns. 'auto' finds it out."`
	Encoding  string    `json:"encoding" default:"auto" enum:"auto,utf-8,utf-16,latin-1" example:"latin-1" doc:"The encoding of the text. 'auto' tells UTF-16 by its mark and takes the rest for UTF-8."`
}
