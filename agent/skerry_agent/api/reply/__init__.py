"""From streamed text to what a chat answer is made of, and from wishes about its form to a schema. Pure."""

from skerry_agent.api.reply.constraint import FORCED, ReplyPlan, ToolChoice, plan_reply
from skerry_agent.api.reply.pieces import Content, Piece, Reasoning, ToolCall
from skerry_agent.api.reply.plain_tools import without_template_tools
from skerry_agent.api.reply.reader import ReplyReader, read_reply
from skerry_agent.api.reply.tools import Function, Tool

__all__ = [
    "FORCED",
    "Content",
    "Function",
    "Piece",
    "Reasoning",
    "ReplyPlan",
    "ReplyReader",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "plan_reply",
    "read_reply",
    "without_template_tools",
]
