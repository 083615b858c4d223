"""The inference API: a chat completion whose response names the weights that produced it."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

import uuid
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, field_validator

from airflow_provider_cerebras.emulator.api import operations
from airflow_provider_cerebras.emulator.api.auth import AskingOrganization
from airflow_provider_cerebras.emulator.core import CurrentEmulator

router = APIRouter(tags=["inference"])

_SECONDS = {"queue_time": 0.0001, "prompt_time": 0.0002, "completion_time": 0.0007}


class Message(BaseModel):
    """A message of the conversation."""

    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """Return the content as a string, whichever form it has."""
        if isinstance(self.content, list):
            return " ".join(str(part.get("text", "")) for part in self.content)
        return self.content or ""


class ChatCompletionRequest(BaseModel):
    """Body of a chat completion; sampling parameters are accepted and ignored."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, description="Id of the endpoint.")
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = None

    @field_validator("stream")
    @classmethod
    def _not_streamed(cls, stream: bool | None) -> bool | None:
        if stream:
            raise ValueError("the emulator does not stream")
        return stream


class CompletionMessage(BaseModel):
    """The model's message."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """The only choice."""

    finish_reason: Literal["stop"] = "stop"
    index: int = 0
    message: CompletionMessage


class PromptTokensDetails(BaseModel):
    """Nothing is cached here."""

    cached_tokens: int = 0


class Usage(BaseModel):
    """Tokens, for which words stand in."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()


class TimeInfo(BaseModel):
    """Made-up durations in seconds, and the real time in Unix seconds."""

    queue_time: float
    prompt_time: float
    completion_time: float
    total_time: float
    created: float


class ChatCompletion(BaseModel):
    """Body of the response."""

    id: str
    choices: list[Choice]
    created: int
    model: str
    system_fingerprint: str
    object: Literal["chat.completion"] = "chat.completion"
    usage: Usage
    time_info: TimeInfo


@router.post(operations.CHAT_COMPLETION.path, operation_id="chat_completion")
async def chat_completion(
    body: ChatCompletionRequest, asking: AskingOrganization, emulator: CurrentEmulator
) -> ChatCompletion:
    """Return the answer that a test has set for the serving version; by default, its name and the last message."""
    service, question = emulator.service, body.messages[-1].text
    version = service.serving_version(body.model, asking)
    told = emulator.answers.find(version, question)
    content = f"{version.name} answers: {question}" if told is None else told
    prompt_tokens = sum(len(message.text.split()) for message in body.messages)
    completion_tokens = len(content.split())
    return ChatCompletion(
        id=f"chatcmpl-{uuid.uuid4()}",
        choices=[Choice(message=CompletionMessage(content=content))],
        created=int(service.now()),
        model=body.model,
        system_fingerprint=version.system_fingerprint(),
        usage=Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
        ),
        time_info=TimeInfo(**_SECONDS, total_time=sum(_SECONDS.values()), created=service.now()),
    )
