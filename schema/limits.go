package schema

// Every bound of the language, with what it defends against. A bound that an operator may change has its default here
// and its setting in the configuration.
const (
	// MaxBody is the largest request body that is read, in bytes.
	MaxBody = 1 << 20
	// MaxDepth is the deepest nesting of JSON from outside: decoders recurse.
	MaxDepth = 64
	// MaxMembers is the most members of one object, or elements of one list, from outside.
	MaxMembers = 10_000
	// MaxNumber is the largest integer that every JSON reader keeps exactly: 2^53.
	MaxNumber = 1 << 53
	// MaxMetadata is the most metadata pairs of a response, MaxMetadataKey and MaxMetadataValue their lengths in characters.
	MaxMetadata      = 16
	MaxMetadataKey   = 64
	MaxMetadataValue = 512
	// MaxTools is the most tools of one request.
	MaxTools = 128
	// MaxApprovals is the most approved calls of one request: each may have to look up where it comes from.
	MaxApprovals = 128
	// MaxHeldEvents and MaxHeldBytes bound what a Sequencer holds back for one producer.
	MaxHeldEvents = 1000
	MaxHeldBytes  = 4 << 20
	// MaxRecordEvents and MaxRecordBytes bound what is committed in one record.
	MaxRecordEvents = 256
	MaxRecordBytes  = 64 << 10
	// MaxEvent is the largest event that a producer may send, in bytes.
	MaxEvent = 1 << 20
	// MaxProducers is the most producers of one response.
	MaxProducers = 16
	// MaxPayload is the largest message that NATS must carry: a terminal event repeats the whole output.
	MaxPayload = 8 << 20
	// MaxOutput bounds the output of one response so that its terminal event fits into MaxPayload.
	MaxOutput = MaxPayload - (1 << 20)
	// MaxThread is the most earlier responses that one can go on from: each is read again for every new one.
	MaxThread = 1000
	// MaxThreadBytes bounds what those hold together: all of it is in memory, and before the model, at once.
	MaxThreadBytes = 32 << 20
	// MaxConversationItems and MaxConversationBytes bound a conversation, so that it stays one short replay. A response that
	// was let in below the bound may still pass it with its answer, up to twice the bytes.
	MaxConversationItems = 10_000
	MaxConversationBytes = 16 << 20
	// MaxConversationInput bounds the input of a response in a conversation, in bytes as it is kept there, so that input
	// and output are one message of MaxPayload.
	MaxConversationInput = MaxPayload - MaxOutput - (64 << 10)
	// MaxNewItems is the most items that one request adds to a conversation.
	MaxNewItems = 20
	// MaxToken is the longest token of a subject: a tenant or a response id.
	MaxToken = 64
)
